package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

func TestStoreURLs(t *testing.T) {
	for text, want := range map[string]storeURL{
		"./sluice-data":          {scheme: "file", path: "./sluice-data"},
		"/var/lib/sluice":        {scheme: "file", path: "/var/lib/sluice"},
		"file:///var/lib/sluice": {scheme: "file", path: "/var/lib/sluice"},
		"file:///with%20space":   {scheme: "file", path: "/with space"},
		"file://localhost/x":     {scheme: "file", path: "/x"},
		"s3://lake":              {scheme: "s3", bucket: "lake"},
		"s3://lake/":             {scheme: "s3", bucket: "lake"},
		"s3://lake/kafka/prod/":  {scheme: "s3", bucket: "lake", prefix: "kafka/prod"},
		"s3a://lake/kafka":       {scheme: "s3", bucket: "lake", prefix: "kafka"},
		"mem://":                 {scheme: "mem"},
		"mem://test":             {scheme: "mem", name: "test"},
	} {
		if got, err := parseStore(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
}

func TestBadStoreURLsSayWhatIsWrong(t *testing.T) {
	for url, want := range map[string]string{
		"":                            "is empty",
		" ":                           "is empty",
		"s3:lake":                     "two slashes: s3://",
		"s3://":                       "names no bucket",
		"s3:///prefix":                "names no bucket",
		"s3://a":                      "cannot be the name of a bucket",
		"s3://my bucket/x":            "cannot be the name of a bucket",
		"s3://lake/a//b":              "cannot be a prefix",
		"s3://lake/../x":              "cannot be a prefix",
		"s3://lake?endpoint=http://x": "AWS_ENDPOINT_URL",
		"file://data":                 "three slashes",
		"file://":                     "want file:///dir",
		"http://localhost:9000/lake":  "address of a server",
		"gs://lake":                   "not supported yet",
		"hdfs://lake":                 "unknown scheme hdfs://",
	} {
		_, err := parseStore(url)
		if !strings.Contains(text(err), want) || !isUsage(err) {
			t.Errorf("%q: got %q, want %q", url, text(err), want)
		}
	}
}

func TestCredentialsInAStoreURLAreRefusedAndNotRepeated(t *testing.T) {
	_, err := parseStore("s3://AKIA123:s3cr3t@lake/kafka")
	if err == nil || strings.Contains(err.Error()+adviceOf(err), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}

func TestSecondInstanceOnADirectoryIsToldSo(t *testing.T) {
	root := t.TempDir()
	_, unlock, err := openStore(t.Context(), storeURL{scheme: "file", path: root})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = openStore(t.Context(), storeURL{scheme: "file", path: root})
	if !strings.Contains(text(err), "another sluice serves it (process ") || adviceOf(err) == "" {
		t.Fatalf("got %v", err)
	}
	unlock()
	_, unlock, err = openStore(t.Context(), storeURL{scheme: "file", path: root})
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	unlock()
}

func TestStoreInAPlainFileIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openStore(t.Context(), storeURL{scheme: "file", path: file}); !strings.Contains(text(err), "not a directory") {
		t.Errorf("got %v", err)
	}
}

func TestClusterIDIsMadeOnceAndKept(t *testing.T) {
	store := mem.New()
	first, err := clusterID(t.Context(), store)
	if err != nil || len(first) != 22 {
		t.Fatalf("got %q, %v", first, err)
	}
	if second, err := clusterID(t.Context(), store.Handle()); err != nil || second != first {
		t.Errorf("got %q, then %q, %v", first, second, err)
	}
}

func TestClusterIDOfABrokerThatWasFasterIsTaken(t *testing.T) {
	store := &overtaken{Store: mem.New()}
	if id, err := clusterID(t.Context(), store); err != nil || id != "the-faster-one" {
		t.Errorf("got %q, %v", id, err)
	}
}

// overtaken is a store in which another broker creates each key just before.
type overtaken struct{ *mem.Store }

func (o *overtaken) Create(ctx context.Context, key string, body []byte, after ...string) (now time.Time, err error) {
	if _, err := o.Store.Create(ctx, key, []byte("the-faster-one\n")); err != nil {
		return now, err
	}
	return o.Store.Create(ctx, key, body, after...)
}

func TestClusterIDThatIsNoneIsAnError(t *testing.T) {
	store := mem.New()
	if _, err := store.Put(t.Context(), clusterIDKey, []byte("\x00{json?}")); err != nil {
		t.Fatal(err)
	}
	if _, err := clusterID(t.Context(), store); err == nil || adviceOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestProbeOfAGoodStoreTellsLatencies(t *testing.T) {
	found, err := probeStore(t.Context(), mem.New(), discard)
	if err != nil || !strings.HasPrefix(found, "put-if-absent ok, put ") {
		t.Errorf("got %q, %v", found, err)
	}
}

func TestProbeRefusesAStoreThatOverwrites(t *testing.T) {
	_, err := probeStore(t.Context(), &careless{mem.New()}, discard)
	if !errors.Is(err, object.ErrUnsafe) || !strings.HasPrefix(text(err), "store refused: ") {
		t.Errorf("got %v", err)
	}
}

// careless is a store that ignores If-None-Match.
type careless struct{ *mem.Store }

func (c *careless) Create(ctx context.Context, key string, body []byte, after ...string) (time.Time, error) {
	return c.Put(ctx, key, body)
}

func TestControlGroupLimits(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, test := range map[string]struct {
		root fstest.MapFS
		want int64
	}{
		"none":         {fstest.MapFS{}, 0},
		"v2 container": {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("536870912\n")}, 512 << 20},
		"v2 unlimited": {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n")}, 0},
		"v2 slice with a smaller parent": {fstest.MapFS{"proc/self/cgroup": file("0::/system.slice/sluice.service\n"),
			"sys/fs/cgroup/system.slice/sluice.service/memory.max": file("2000\n"),
			"sys/fs/cgroup/system.slice/memory.max":                file("1000\n")}, 1000},
		"v1": {fstest.MapFS{"proc/self/cgroup": file("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("1073741824\n")}, 1 << 30},
		"v1 unlimited": {fstest.MapFS{"proc/self/cgroup": file("4:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 0},
		"path outside of what is mounted": {fstest.MapFS{"proc/self/cgroup": file("0::/../../x\n"),
			"sys/fs/cgroup/memory.max": file("4096\n")}, 4096},
	} {
		if got := controlGroupLimit(test.root); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}

func TestBoundsStayBelowHalfOfASmallMemory(t *testing.T) {
	s, err := fromEnvironment(t)
	if err != nil {
		t.Fatal(err)
	}
	const limit = 512 << 20
	b := newBounds(s, storeURL{scheme: "file"}, limit)
	if sum := b.tail + b.blocks + b.pending + b.produce + b.other; sum > limit/2 {
		t.Errorf("%+v are %d MiB", b, sum>>20)
	}
	if c := b.broker(s.broker); int64(c.MaxFrame) > c.ProduceMemory {
		t.Errorf("a frame of %d bytes does not fit into %d", c.MaxFrame, c.ProduceMemory)
	}
	if got, want := newBounds(s, storeURL{}, 0).broker(s.broker).ProduceMemory, s.broker.ProduceMemory; got != want {
		t.Errorf("without a limit: %d, want %d", got, want)
	}
}

func TestStoresHaveTheirPace(t *testing.T) {
	if got := paceOf(storeURL{scheme: "s3"}, "", "none"); got != amazonPace {
		t.Errorf("Amazon: %v", got)
	}
	if got := paceOf(storeURL{scheme: "s3"}, "http://minio:9000", "none"); got != serverPace {
		t.Errorf("MinIO: %v", got)
	}
	if got := paceOf(storeURL{scheme: "file"}, "", "s3-standard"); got != amazonPace {
		t.Errorf("as slow as Amazon: %v", got)
	}
	if _, err := fromEnvironment(t, "SLUICE_STORE_LATENCY=tape"); err == nil {
		t.Error("a latency that nobody knows is taken")
	}
	s, err := fromEnvironment(t, "SLUICE_STORE_PUTS_PER_SECOND=7")
	if err != nil {
		t.Fatal(err)
	}
	if got := newBounds(s, storeURL{scheme: "file"}, 0).pace.puts; got != 7 {
		t.Errorf("budget of 7: %v", got)
	}
}
