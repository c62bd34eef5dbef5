package dir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/dir"
	"sluice/storage/object/objecttest"
)

func open(t testing.TB, path string) *dir.Store {
	t.Helper()
	s, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	root := t.TempDir()
	objecttest.Run(t, func(t *testing.T) object.Store { return open(t, root) })
	// The suite has deleted all that it made: of the tree only our own folder is left.
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, path); rel != "." && rel != "_sluice" && rel != "_sluice/tmp" {
			t.Errorf("left over: %s", rel)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func keys(t *testing.T, s object.Store) (all []string) {
	t.Helper()
	if _, err := object.All(t.Context(), s, object.ListRequest{}, func(i object.Info) error {
		all = append(all, i.Key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOpenMakesTheDirectory(t *testing.T) {
	root := filepath.Join(t.TempDir(), "not", "there yet")
	s := open(t, root)
	if want := "file://" + filepath.Dir(root) + "/there%20yet"; s.URL() != want {
		t.Errorf("URL is %s, want %s", s.URL(), want)
	}
	if _, err := s.Create(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "a", "b")); err != nil || string(b) != "x" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestOpenOfSomethingElseSaysWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "/below"} {
		if _, err := dir.Open(path); err == nil || !strings.Contains(err.Error(), "is not a directory: name a directory") {
			t.Errorf("open of %s: %v", path, err)
		}
	}
}

func TestOpenOfAReadOnlyDirectorySaysWhatToDo(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("permissions do not bind the root user")
	}
	root := t.TempDir()
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := dir.Open(root)
	if !errors.Is(err, object.ErrDenied) || !strings.Contains(err.Error(), "run as its owner, or chown it") {
		t.Errorf("open: %v", err)
	}
}

func TestFilesAreReadableByOtherUsers(t *testing.T) {
	old := syscall.Umask(0o022)
	defer syscall.Umask(old)
	root := t.TempDir()
	s := open(t, root)
	if _, err := s.Create(t.Context(), "a/created", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "a/put", nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{"a": 0o755, "a/created": 0o644, "a/put": 0o644} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
}

func TestLeftoversAreHiddenAndSweptWhenOld(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	tmp := filepath.Join(root, "_sluice", "tmp")
	for name, age := range map[string]time.Duration{"1-old": 2 * time.Hour, "2-young": time.Minute} {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, []byte("torn"), 0o644); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(t, s); len(got) != 0 {
		t.Errorf("listed: %q", got)
	}
	for _, prefix := range []string{"", "_sluice", "_sluice/", "_sluice/tmp/"} {
		l, err := s.List(t.Context(), object.ListRequest{Prefix: prefix, Folders: true})
		if err != nil || len(l.Folders)+len(l.Objects) != 0 {
			t.Errorf("list %q: %+v, %v", prefix, l, err)
		}
	}
	if _, err := s.Get(t.Context(), "_sluice/tmp/2-young", object.Range{}); !errors.Is(err, object.ErrBadKey) {
		t.Errorf("get: %v", err)
	}
	open(t, root)
	if _, err := os.Stat(filepath.Join(tmp, "1-old")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old leftover: %v", err)
	}
	if _, err := os.Stat(filepath.Join(tmp, "2-young")); err != nil {
		t.Errorf("the young one may belong to a live process: %v", err)
	}
}

func TestNoWriteLeavesATemporaryFile(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	for range 3 {
		s.Create(t.Context(), "k", []byte("x"))
		s.Put(t.Context(), "p", []byte("x"))
		s.Create(t.Context(), "k/below", []byte("x"))
	}
	left, err := os.ReadDir(filepath.Join(root, "_sluice", "tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestAKeyIsNotBothAnObjectAndAFolder(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Create(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "a/b/c", "a/b/c/d"} {
		if _, err := s.Create(t.Context(), key, nil); !errors.Is(err, object.ErrBadKey) {
			t.Errorf("create %s: %v", key, err)
		}
		if _, err := s.Put(t.Context(), key, nil); !errors.Is(err, object.ErrBadKey) {
			t.Errorf("put %s: %v", key, err)
		}
	}
}

func TestLinksDoNotLeaveTheRoot(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	s := open(t, root)
	if _, err := s.Create(t.Context(), "real/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"file": secret, "folder": outside, "up": "../..", "inside": "real", "loop": "."} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"file", "folder/secret", "up/etc/passwd"} {
		if o, err := s.Get(t.Context(), key, object.Range{}); err == nil {
			t.Errorf("get %s: %q", key, o.Body)
		}
	}
	for _, key := range []string{"folder/new", "folder/deeper/new", "up/new"} {
		if _, err := s.Create(t.Context(), key, []byte("x")); err == nil {
			t.Errorf("create %s got out", key)
		}
		if _, err := s.Put(t.Context(), key, []byte("x")); err == nil {
			t.Errorf("put %s got out", key)
		}
	}
	if _, err := s.Delete(t.Context(), "folder/secret"); err == nil {
		t.Error("delete of folder/secret: no error")
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the file outside: %q, %v", b, err)
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("outside: %v", entries)
	}
	if o, err := s.Get(t.Context(), "inside/x", object.Range{}); err != nil || string(o.Body) != "x" {
		t.Errorf("a link within the root: %q, %v", o.Body, err)
	}
	if got := keys(t, s); len(got) != 1 || got[0] != "real/x" {
		t.Errorf("listed: %q", got)
	}
}

func TestSpecialFilesAreNoObjects(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Skipf("no named pipes here: %v", err)
	}
	if _, err := s.Get(t.Context(), "pipe", object.Range{}); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if got := keys(t, s); len(got) != 0 {
		t.Errorf("listed: %q", got)
	}
}

func TestNamesThatNoKeyReachesAreNotListed(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := os.MkdirAll(filepath.Join(root, "t", "ünder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ä", `b\c`, "new\nline", "t/ünder/x", "t/fine"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(t, s); len(got) != 1 || got[0] != "t/fine" {
		t.Errorf("listed: %q", got)
	}
}

func TestADirectoryOfSeveralPagesIsListedInOrder(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	var want []string
	for i := range 3000 {
		name := fmt.Sprintf("%04d", i*7%3000)
		switch path := filepath.Join(root, name); {
		case i%100 == 0: // sorts as its name with a slash, behind name-1
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			name += "/x"
			fallthrough
		default:
			if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, name)
		if i%150 == 0 {
			name = name[:4] + "-1"
			if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			want = append(want, name)
		}
	}
	slices.Sort(want)
	for _, after := range []string{"", "1234", "2999"} {
		from, found := slices.BinarySearch(want, after)
		if found {
			from++
		}
		request := object.ListRequest{After: after}
		var got []string
		for more := true; more; {
			page, err := s.List(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			for _, info := range page.Objects {
				got = append(got, info.Key)
			}
			more, request.After = page.More, page.Last
		}
		if !slices.Equal(got, want[from:]) {
			t.Errorf("after %q: %d keys, want %d", after, len(got), len(want)-from)
		}
	}
}

func TestEmptyDirectoriesAreNoFolders(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := os.MkdirAll(filepath.Join(root, "empty", "deeper"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), "full/x/y/z", nil); err != nil {
		t.Fatal(err)
	}
	l, err := s.List(t.Context(), object.ListRequest{Folders: true, Limit: 1})
	if err != nil || len(l.Folders) != 1 || l.Folders[0] != "full/" || l.More {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestProcessesRaceForKeys runs this test binary four times over; the
// processes try to create the same keys.
func TestProcessesRaceForKeys(t *testing.T) {
	const processes, rounds = 4, 40
	if root := os.Getenv("SLUICE_DIR_RACE"); root != "" {
		s, me := open(t, root), []byte(os.Getenv("SLUICE_DIR_RACER"))
		for i := range rounds {
			switch _, err := s.Create(t.Context(), fmt.Sprintf("race/%03d", i), me); {
			case err == nil:
				fmt.Printf("won %03d\n", i)
			case !errors.Is(err, object.ErrExists):
				t.Fatal(err)
			}
		}
		return
	}
	root := t.TempDir()
	outputs := make([]bytes.Buffer, processes)
	racers := make([]*exec.Cmd, processes)
	for i := range racers {
		c := exec.Command(os.Args[0], "-test.run=^TestProcessesRaceForKeys$")
		c.Env = append(os.Environ(), "SLUICE_DIR_RACE="+root, fmt.Sprintf("SLUICE_DIR_RACER=%d", i))
		c.Stdout, c.Stderr = &outputs[i], &outputs[i]
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		racers[i] = c
	}
	for i, c := range racers {
		if err := c.Wait(); err != nil {
			t.Errorf("process %d: %v\n%s", i, err, outputs[i].String())
		}
	}
	s := open(t, root)
	for round := range rounds {
		o, err := s.Get(t.Context(), fmt.Sprintf("race/%03d", round), object.Range{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range outputs {
			won := strings.Contains(outputs[i].String(), fmt.Sprintf("won %03d\n", round))
			if read := string(o.Body) == fmt.Sprint(i); won != read {
				t.Errorf("round %d, process %d: won is %v, its body reads back is %v", round, i, won, read)
			}
		}
	}
}

// FuzzKeys checks that no key reaches a file outside of the root, and that a
// key which is taken names one object.
func FuzzKeys(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../x", "/x", "a/../../x", "..", "a//b", "_sluice/tmp/x", "_sluice/tmp", "a\x00b", "CON", "-rf", "*"} {
		f.Add(s)
	}
	parent := f.TempDir()
	root := filepath.Join(parent, "root")
	s := open(f, root)
	f.Fuzz(func(t *testing.T, key string) {
		_, err := s.Create(t.Context(), key, []byte(key))
		if (err == nil) != (object.ValidKey(key) && key != "_sluice" && key != "_sluice/tmp" && !strings.HasPrefix(key, "_sluice/tmp/")) {
			t.Fatalf("create %q: %v", key, err)
		}
		if err == nil {
			if o, err := s.Get(t.Context(), key, object.Range{}); err != nil || string(o.Body) != key {
				t.Fatalf("get %q: %q, %v", key, o.Body, err)
			}
			if got := keys(t, s); len(got) != 1 || got[0] != key {
				t.Fatalf("created %q, listed %q", key, got)
			}
			if _, err := s.Put(t.Context(), key, nil); err != nil {
				t.Fatalf("put %q: %v", key, err)
			}
			if _, err := s.Delete(t.Context(), key); err != nil {
				t.Fatalf("delete %q: %v", key, err)
			}
		}
		for path, want := range map[string]string{parent: "root", root: "_sluice"} {
			entries, err := os.ReadDir(path)
			if err != nil || len(entries) != 1 || entries[0].Name() != want {
				t.Fatalf("after key %q, %s holds %v, %v", key, path, entries, err)
			}
		}
	})
}

// BenchmarkCreate is the price of a commit's log entry: 1 KiB, durable.
func BenchmarkCreate(b *testing.B) {
	s, body, i := open(b, b.TempDir()), make([]byte, 1<<10), 0
	for b.Loop() {
		if _, err := s.Create(b.Context(), fmt.Sprintf("t/_delta_log/%020d.json", i), body); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkListTail lists the last entries of a long log.
func BenchmarkListTail(b *testing.B) {
	root := b.TempDir()
	s := open(b, root)
	log := filepath.Join(root, "t", "_delta_log")
	if err := os.MkdirAll(log, 0o755); err != nil {
		b.Fatal(err)
	}
	const entries = 20_000
	for i := range entries {
		if err := os.WriteFile(filepath.Join(log, fmt.Sprintf("%020d.json", i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	req := object.ListRequest{Prefix: "t/_delta_log/", After: fmt.Sprintf("t/_delta_log/%020d.json", entries-10)}
	for b.Loop() {
		if l, err := s.List(b.Context(), req); err != nil || len(l.Objects) != 9 {
			b.Fatal(len(l.Objects), err)
		}
	}
}
