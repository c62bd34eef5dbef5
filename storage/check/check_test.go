package check_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/offsets"
	"sluice/protocol/record"
	"sluice/storage"
	"sluice/storage/check"
	"sluice/storage/delta"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

// Each test breaks a sound root in one way and asks that the check says so. The root
// holds a topic of two partitions with a checkpoint and idempotent producers, and
// committed offsets.

var soundRoot = sync.OnceValues(func() (map[string][]byte, error) {
	ctx, store := context.Background(), mem.New()
	topics, err := storage.Open(ctx, store, storage.Options{})
	if err != nil {
		return nil, err
	}
	info, err := topics.Create(ctx, "t", 2, nil, false)
	if err != nil {
		return nil, err
	}
	topic, err := topics.Topic(ctx, "t")
	if err != nil {
		return nil, err
	}
	for i := range int32(130) {
		var b record.Builder
		b.Reset(nil, record.Params{Producer: &record.Producer{ID: 7, Sequence: i / 2 * 2}})
		for j := range int64(2) {
			b.Append(j, 1_700_000_000_000+int64(i), []byte("key"), []byte("value"), record.Headers{})
		}
		wait := topic.Append(i%2, b.Finish(), storage.Sender{Eager: true})
		<-wait.Done()
		if err := wait.Result().Err; err != nil {
			return nil, err
		}
		// The checkpoint is written in the background, with the hint at last.
		for wait := 0; i == 119 && wait < 10_000; wait++ {
			if _, err := store.Get(ctx, delta.LastCheckpointKey("t"), object.Range{}); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	committed, err := offsets.Open(ctx, store, offsets.Options{})
	if err != nil {
		return nil, err
	}
	err = committed.Term().Commit("g", []offsets.Offset{{Topic: "t", TopicID: info.ID, Offset: 3, Committed: time.Now()}}).Get(ctx)
	if err != nil {
		return nil, err
	}
	if err := committed.Close(ctx); err != nil {
		return nil, err
	}
	if err := topics.Close(ctx); err != nil {
		return nil, err
	}
	objects := map[string][]byte{}
	_, err = object.All(ctx, store, object.ListRequest{}, func(info object.Info) error {
		o, err := store.Get(ctx, info.Key, object.Range{})
		objects[info.Key] = o.Body
		return err
	})
	return objects, err
})

// broken is a root that a test breaks.
type broken struct {
	t       *testing.T
	objects map[string][]byte
	later   time.Duration // what the store's clock is ahead of the objects' times
}

func begin(t *testing.T) *broken {
	t.Helper()
	objects, err := soundRoot()
	if err != nil {
		t.Fatal(err)
	}
	return &broken{t: t, objects: maps.Clone(objects)}
}

// store is a store with the objects.
func (b *broken) store() *mem.Store {
	b.t.Helper()
	store := mem.New()
	for key, body := range b.objects {
		if _, err := store.Put(b.t.Context(), key, body); err != nil {
			b.t.Fatal(err)
		}
	}
	return store
}

// all checks everything.
func (b *broken) all(o check.Options) *check.RootReport {
	b.t.Helper()
	store := b.store()
	store.SetClock(func() time.Time { return time.Now().Add(b.later) })
	report, err := check.All(b.t.Context(), store, o, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return report
}

// says asks that a check finds a problem.
func (b *broken) says(severity check.Severity, what string) {
	b.t.Helper()
	b.saysWith(check.Options{}, severity, what)
}

func (b *broken) saysWith(o check.Options, severity check.Severity, what string) {
	b.t.Helper()
	report := b.all(o)
	var others []string
	for _, p := range report.Problems() {
		if p.Severity == severity && strings.Contains(p.What, what) {
			if p.Do == "" {
				b.t.Errorf("nothing is said about what to do: %s", &p)
			}
			return
		}
		others = append(others, p.String())
	}
	b.t.Errorf("no %s that says %q, but:\n%s", severity, what, strings.Join(others, "\n"))
}

// sound asks that a check finds no error and no warning.
func (b *broken) sound(o check.Options) *check.RootReport {
	b.t.Helper()
	report := b.all(o)
	for _, p := range report.Problems() {
		if p.Severity != check.Info {
			b.t.Error(&p)
		}
	}
	return report
}

func entryKey(version int64) string { return fmt.Sprintf("t/_delta_log/%020d.json", version) }

// tip is the newest version of the topic's table.
func (b *broken) tip() int64 {
	version := int64(0)
	for key := range b.objects {
		if name, ok := strings.CutPrefix(key, "t/_delta_log/"); ok && strings.HasSuffix(name, ".json") {
			v, _ := strconv.ParseInt(name[:20], 10, 64)
			version = max(version, v)
		}
	}
	return version
}

// checkpoint is the oldest one.
func (b *broken) checkpoint() (key string, version int64) {
	b.t.Helper()
	for _, key = range slices.Sorted(maps.Keys(b.objects)) {
		if name, ok := strings.CutPrefix(key, "t/_delta_log/"); ok && strings.HasSuffix(name, ".checkpoint.parquet") {
			version, _ = strconv.ParseInt(name[:20], 10, 64)
			return key, version
		}
	}
	b.t.Fatal("no checkpoint")
	return "", 0
}

// actions are those of an entry of one kind.
func (b *broken) actions(version int64, kind string) (all []map[string]any) {
	b.t.Helper()
	for line := range strings.Lines(string(b.objects[entryKey(version)])) {
		var action map[string]map[string]any
		if err := json.Unmarshal([]byte(line), &action); err != nil {
			b.t.Fatal(err)
		}
		if a := action[kind]; a != nil {
			all = append(all, a)
		}
	}
	return all
}

// metaData is that of version 0.
func (b *broken) metaData() map[string]any { return b.actions(0, "metaData")[0] }

// live are the adds of the files in the table, by path.
func (b *broken) live() map[string]map[string]any {
	files := map[string]map[string]any{}
	for v := int64(0); v <= b.tip(); v++ {
		for _, a := range b.actions(v, "remove") {
			delete(files, a["path"].(string))
		}
		for _, a := range b.actions(v, "add") {
			files[a["path"].(string)] = a
		}
	}
	return files
}

// file is the add of one that is in the table.
func (b *broken) file() map[string]any {
	files := b.live()
	return files[slices.Sorted(maps.Keys(files))[0]]
}

// action is a line of an entry.
func action(kind string, fields map[string]any) string {
	line, _ := json.Marshal(map[string]any{kind: fields})
	return string(line)
}

// with is fields with some changed; a nil value takes one out.
func with(fields map[string]any, changes ...any) map[string]any {
	fields = maps.Clone(fields)
	for i := 0; i < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == nil {
			delete(fields, name)
		} else {
			fields[name] = changes[i+1]
		}
	}
	return fields
}

// commit adds an entry to the log, with a commitInfo of its own if the first line
// is none.
func (b *broken) commit(lines ...string) {
	version := b.tip() + 1
	if len(lines) == 0 || !strings.HasPrefix(lines[0], `{"commitInfo"`) {
		lines = append([]string{b.info()}, lines...)
	}
	b.objects[entryKey(version)] = []byte(strings.Join(lines, "\n") + "\n")
}

// info is a sound commitInfo, but for changes.
func (b *broken) info(changes ...any) string {
	version := b.tip() + 1
	return action("commitInfo", with(map[string]any{
		"timestamp": time.Now().Add(time.Hour).UnixMilli() + version, "operation": "TEST", "txnId": fmt.Sprint("test ", version),
	}, changes...))
}

func TestASoundRootIsSound(t *testing.T) {
	for _, o := range []check.Options{{}, {Quick: true}, {Dense: true}} {
		report := begin(t).sound(o)
		if !report.Sound() || len(report.Tables) != 3 || report.Counts.Checkpoints == 0 || report.Counts.Rows < 260 {
			t.Errorf("%s: %+v", report.Summary(), report.Counts)
		}
		for _, table := range report.Tables {
			if table.Table != "t" {
				continue
			}
			for n, p := range table.Partitions {
				if p.Next != 130 || p.Rows != 130 || p.LogStart != 0 {
					t.Errorf("partition %d: %+v", n, p)
				}
			}
		}
	}
}

func TestALogThatIsCleanedUpIsSound(t *testing.T) {
	b := begin(t)
	var again []string
	live := b.live()
	for _, path := range slices.Sorted(maps.Keys(live)) {
		again = append(again, action("add", with(live[path], "dataChange", false)))
	}
	b.commit()
	b.cleanUp()
	b.says(check.Warning, "only checkpoints tell")
	b.commit(again...)
	b.sound(check.Options{Dense: true})
	// A broker that was stopped for long put an entry where cleanup had been.
	b.objects[entryKey(3)] = []byte(b.info())
	b.sound(check.Options{})
	b.says(check.Info, "before the oldest checkpoint")
	// And a checkpoint that it had under way.
	key, _ := b.checkpoint()
	b.objects["t/_delta_log/00000000000000000002.checkpoint.parquet"] = b.objects[key]
	b.sound(check.Options{})
	b.says(check.Info, "a checkpoint from before the log's beginning")
	delete(b.objects, entryKey(3))
	b.sound(check.Options{})
}

// cleanUp writes a checkpoint of the topic's newest version and takes all entries
// before that away.
func (b *broken) cleanUp() {
	b.t.Helper()
	store, version := b.store(), b.tip()
	log := delta.NewLog(store, "t", delta.Options{})
	snap, err := log.Open(b.t.Context(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := log.WriteCheckpoint(b.t.Context(), snap, snap.Proved); err != nil {
		b.t.Fatal(err)
	}
	for _, key := range []string{delta.CheckpointKey("t", version), delta.LastCheckpointKey("t")} {
		o, err := store.Get(b.t.Context(), key, object.Range{})
		if err != nil {
			b.t.Fatal(err)
		}
		b.objects[key] = o.Body
	}
	old, _ := b.checkpoint()
	delete(b.objects, old)
	b.objects[fmt.Sprintf("t/_sluice/state/%020d", version)] = fmt.Appendf(nil, `{"version":%d,"table":%q}`, version, snap.Metadata.ID)
	for v := range version {
		delete(b.objects, entryKey(v))
	}
}

func TestAFolderWithoutALogIsNoTable(t *testing.T) {
	b := begin(t)
	b.objects["other/data.csv"] = []byte("1,2")
	b.sound(check.Options{})
	if _, err := check.Table(t.Context(), mem.New(), "t", check.Options{}); err == nil || !strings.Contains(err.Error(), check.ErrNoTable.Error()) {
		t.Error(err)
	}
}

func finds(t *testing.T, report *check.Report, severity check.Severity, what string) {
	t.Helper()
	for _, p := range report.Problems {
		if p.Severity == severity && strings.Contains(p.What, what) {
			return
		}
	}
	t.Errorf("no %s that says %q, but %v", severity, what, report.Problems)
}
