//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// damage is one thing that somebody with access to the bucket leaves in a topic's table.
type damage struct {
	name string
	do   func(v victim) string
	// repair puts the table right; nil: what was there is put back.
	repair func(v victim)
	// written: the topic can be written to, only reading fails.
	written bool
	// served: the topic goes on in spite of it. Otherwise clients are told
	// KAFKA_STORAGE_ERROR, until the bytes are put back.
	served bool
}

// victim is the table of a topic, in a directory. Its log has the versions up to tip.
type victim struct {
	t    *testing.T
	path string
	tip  int64
}

const victimRecords = 5

// entries are what may stand in a log behind the newest version.
var entryDamages = []damage{
	{name: "an entry of 300 MiB", do: func(v victim) string {
		v.put(v.entry(1), nil)
		v.must(os.Truncate(filepath.Join(v.path, v.entry(1)), 300<<20)) // of zeros
		return "300 MiB"
	}},
	{name: "a million actions", do: func(v victim) string {
		body := lines1M()
		v.put(v.entry(1), body)
		return fmt.Sprintf("%d MiB", len(body)>>20)
	}},
	{name: "many large entries", do: func(v victim) string {
		body := addLines(60_000)
		body = body[:bytes.LastIndexByte(body[:6<<20], '\n')+1]
		for n := range int64(8) {
			v.put(v.entry(1+n), bytes.ReplaceAll(body, []byte(`"bulk-`), fmt.Appendf(nil, `"bulk-%d-`, n)))
		}
		return fmt.Sprintf("8 x %d MiB", len(body)>>20)
	}},
	{name: "a torn entry", do: with(`{"add":{"path":"x`)},
	{name: "an empty entry", do: with("")},
	{name: "noise", do: with(strings.Repeat("\x00\xff\x13\n", 4000))},
	{name: "deep nesting", do: with(`{"add":{"path":"x","tags":` + strings.Repeat(`{"a":`, 200_000))},
	{name: "deep nesting, closed", do: with(`{"unknown":` + strings.Repeat(`[`, 100_000) + strings.Repeat(`]`, 100_000) + `}`)},
	{name: "numbers out of range", do: with(`{"add":{"path":"x.parquet","size":1e400,"modificationTime":99999999999999999999}}`)},
	{name: "a reader version of the future", do: with(`{"protocol":{"minReaderVersion":2147483647,"minWriterVersion":2147483647}}`)},
	{name: "unknown features", do: with(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["` + strings.Repeat(`x","`, 100_000) + `"],"writerFeatures":[]}}`)},
	{name: "another schema", do: with(`{"metaData":{"id":"x","schemaString":"` + strings.Repeat("{", 1<<20) + `","partitionColumns":[],"format":{"provider":"parquet"},"configuration":{}}}`)},
	{name: "a version far away", do: func(v victim) string {
		v.put(v.entry(1_000_000), []byte(`{"commitInfo":{}}`))
		return "a million behind the tip"
	}},
	{name: "files outside the table", do: func(v victim) string {
		var b strings.Builder
		paths := []string{"../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "s3://other/table/x.parquet", "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
			"http://127.0.0.1:1/x", "\\\\host\\share", "data/../../other", "data//x", strings.Repeat("a/", 2000) + "x", "a\x00b", "\u202e.parquet"}
		for _, path := range paths {
			name, err := json.Marshal(path)
			v.must(err)
			fmt.Fprintf(&b, `{"add":{"path":%s,"partitionValues":{},"size":1000,"modificationTime":1,"dataChange":true,"stats":%q}}`+"\n", name, statsOf(0, victimRecords-1, victimRecords))
		}
		v.put(v.entry(1), []byte(b.String()))
		return fmt.Sprintf("%d paths", len(paths))
	}},
	{name: "statistics that lie", do: func(v victim) string {
		var b strings.Builder
		all := []string{`{"numRecords":4611686018427387904}`, `{"numRecords":-1,"minValues":{"offset":5},"maxValues":{"offset":-5}}`, `{`, `[]`, `null`, `{"minValues":[1]}`,
			statsOf(math.MinInt64, math.MaxInt64, math.MaxInt64), `{"numRecords":1e30}`, strings.Repeat(`{"minValues":`, 20_000), strings.Repeat("x", 4<<20)}
		for n, stats := range all {
			fmt.Fprintf(&b, `{"add":{"path":"lie-%d.parquet","partitionValues":{},"size":%d,"modificationTime":1,"dataChange":true,"stats":%q}}`+"\n", n, uint64(math.MaxInt64)>>n, stats)
		}
		v.put(v.entry(1), []byte(b.String()))
		return fmt.Sprintf("%d files", len(all))
	}},
}

// checkpointDamages are checkpoints that the log cannot do without, but the last.
var checkpointDamages = []damage{
	{name: "a checkpoint that is none", do: onlyCheckpoint(func(victim) []byte { return []byte("PAR1PAR1") })},
	{name: "a footer longer than its file", do: onlyCheckpoint(func(v victim) []byte {
		return append(v.actions(1, 10), "\xff\xff\xff\x7fPAR1"...)
	})},
	{name: "a path of 1 MiB, 2,000 times", do: onlyCheckpoint(func(v victim) []byte { return v.actions(2000, 1<<20) })},
	{name: "three million empty rows", do: onlyCheckpoint(func(v victim) []byte { return v.actions(3_000_000, 0) })},
	{name: "a checkpoint of 2 GiB", do: func(v victim) string {
		did := onlyCheckpoint(func(victim) []byte { return nil })(v)
		v.must(os.Truncate(filepath.Join(v.path, v.checkpoint()), 2<<30))
		return did
	}},
	{name: "parts that are not there", do: func(v victim) string {
		v.removeEntries()
		for n := range 2000 {
			v.put(fmt.Sprintf("_delta_log/%020d.checkpoint.%010d.%010d.parquet", v.tip, n+2, 4000), []byte("x"))
		}
		return "2,000 of 4,000"
	}},
	{name: "a huge _last_checkpoint", do: func(v victim) string {
		v.put("_delta_log/_last_checkpoint", append([]byte(`{"version":0,"size":1,"x":"`), make([]byte, 200<<20)...))
		return "200 MiB"
	}, repair: removeHint, served: true},
	{name: "a _last_checkpoint from the future", do: func(v victim) string {
		v.put("_delta_log/_last_checkpoint", []byte(`{"version":9223372036854775806}`))
		return "version 2^63-2"
	}, repair: removeHint, served: true},
	{name: "a useless checkpoint beside the log", do: func(v victim) string {
		v.put(v.checkpoint(), v.actions(2000, 1<<20))
		return "a path of 1 MiB, 2,000 times"
	}, repair: func(v victim) { v.must(os.Remove(filepath.Join(v.path, v.checkpoint()))) }, served: true},
}

// dataDamages take the place of the topic's rows.
var dataDamages = []damage{
	{name: "a data file that is none", do: func(v victim) string { return v.replace([]byte(strings.Repeat("nothing ", 200))) }, repair: restore},
	{name: "a data file with a lying footer", do: func(v victim) string {
		body := v.rows(victimRecords, 10)
		copy(body[len(body)-8:], "\xff\xff\xff\x3f")
		return v.replace(body)
	}, repair: restore},
	{name: "a page that unfolds to 200 MiB", do: func(v victim) string { return v.replace(v.rows(victimRecords, 40<<20)) }, repair: restore, written: true},
	{name: "a page that unfolds to 40 MiB", do: func(v victim) string { return v.replace(v.rows(victimRecords, 8<<20)) }, repair: restore, served: true},
	{name: "a data file that is not there", do: func(v victim) string {
		v.replace(v.rows(victimRecords, 10))
		v.must(os.Remove(filepath.Join(v.path, "data/replaced.parquet")))
		return ""
	}, repair: restore},
	{name: "a data file of other rows", do: func(v victim) string { return v.replace(v.rows(1, 10)) }, repair: restore, served: true},
}

func removeHint(v victim) { v.must(os.Remove(filepath.Join(v.path, "_delta_log/_last_checkpoint"))) }

// with is an entry of that text behind the newest version.
func with(text string) func(victim) string {
	return func(v victim) string {
		v.put(v.entry(1), []byte(text))
		return fmt.Sprintf("%d bytes", len(text))
	}
}

// onlyCheckpoint takes the log's entries away and puts a checkpoint in their place.
func onlyCheckpoint(body func(victim) []byte) func(victim) string {
	return func(v victim) string {
		v.removeEntries()
		b := body(v)
		v.put(v.checkpoint(), b)
		return fmt.Sprintf("%d KiB", len(b)>>10)
	}
}

func (v victim) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v victim) put(name string, body []byte) {
	v.t.Helper()
	path := filepath.Join(v.path, name)
	v.must(os.MkdirAll(filepath.Dir(path), 0o755))
	v.must(os.WriteFile(path, body, 0o644))
}

// entry is the name of the entry so many behind the newest.
func (v victim) entry(n int64) string { return fmt.Sprintf("_delta_log/%020d.json", v.tip+n) }

func (v victim) checkpoint() string {
	return fmt.Sprintf("_delta_log/%020d.checkpoint.parquet", v.tip)
}

func (v victim) removeEntries() {
	for n := range v.tip {
		v.must(os.Remove(filepath.Join(v.path, v.entry(-n))))
	}
	v.must(os.Remove(filepath.Join(v.path, v.entry(-v.tip))))
}

// addLines are n actions, lines1M a million.
func addLines(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"add":{"path":"bulk-%d.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}`+"\n", i)
	}
	return b.Bytes()
}

func lines1M() []byte { return addLines(1_000_000) }

func commitInfo(operation string) string {
	return fmt.Sprintf(`{"commitInfo":{"timestamp":%d,"operation":%q,"operationParameters":{},"isBlindAppend":false}}`+"\n", time.Now().UnixMilli(), operation)
}

func statsOf(first, last, n int64) string {
	return fmt.Sprintf(`{"numRecords":%d,"minValues":{"partition":0,"offset":%d},"maxValues":{"partition":0,"offset":%d},"nullCount":{"partition":0,"offset":0}}`, n, first, last)
}

// actions is a checkpoint of n adds, all of the same path of that length; of no path if
// that is 0.
func (v victim) actions(n, length int) []byte {
	type add struct {
		Path *string `parquet:"path,optional,dict"`
	}
	type row struct {
		Add add `parquet:"add"`
	}
	path := strings.Repeat("p", length)
	var out bytes.Buffer
	w := parquet.NewGenericWriter[row](&out, parquet.Compression(&parquet.Zstd))
	for done := 0; done < n; {
		rows := make([]row, min(n-done, 10_000))
		if length > 0 {
			for i := range rows {
				rows[i].Add.Path = &path
			}
		}
		_, err := w.Write(rows)
		v.must(err)
		done += len(rows)
	}
	v.must(w.Close())
	if length > 0 {
		return out.Bytes()
	}
	// A row has a byte at least: bytes that nobody looks at.
	pad := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{5}).Read(pad)
	body := out.Bytes()
	footer := len(body) - 8 - int(uint32(body[len(body)-8])|uint32(body[len(body)-7])<<8|uint32(body[len(body)-6])<<16)
	return slices.Concat(body[:footer], pad, body[footer:])
}

// restore commits, as RESTORE does, that the table has the files again that it had up to tip,
// and not the one in their place.
func restore(v victim) {
	v.t.Helper()
	var entry bytes.Buffer
	entry.WriteString(commitInfo("RESTORE"))
	fmt.Fprintln(&entry, `{"remove":{"path":"data/replaced.parquet","deletionTimestamp":1,"dataChange":true,"partitionValues":{}}}`)
	for version := range v.tip + 1 {
		text, err := os.ReadFile(filepath.Join(v.path, v.entry(version-v.tip)))
		v.must(err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, `{"add"`) {
				entry.WriteString(line)
			}
		}
	}
	newest := int64(1)
	for ; ; newest++ {
		if _, err := os.Stat(filepath.Join(v.path, v.entry(newest))); err != nil {
			break
		}
	}
	v.put(v.entry(newest), entry.Bytes())
}

// rows is a data file of n records of partition 0, with values of that many equal bytes.
func (v victim) rows(n, length int) []byte {
	type header struct {
		Key   string `parquet:"key"`
		Value []byte `parquet:"value,optional"`
	}
	type row struct {
		Topic     string   `parquet:"topic"`
		Partition int32    `parquet:"partition"`
		Offset    int64    `parquet:"offset"`
		Timestamp int64    `parquet:"timestamp,timestamp(microsecond:utc)"`
		Type      int32    `parquet:"timestampType"`
		Key       []byte   `parquet:"key,optional"`
		Value     []byte   `parquet:"value,optional"`
		Headers   []header `parquet:"headers,list"`
	}
	rows := make([]row, n)
	value := bytes.Repeat([]byte("v"), length)
	for i := range rows {
		rows[i] = row{Topic: filepath.Base(v.path), Offset: int64(i), Timestamp: time.Now().UnixMicro(), Value: value}
	}
	var out bytes.Buffer
	w := parquet.NewGenericWriter[row](&out, parquet.Compression(&parquet.Zstd), parquet.DataPageVersion(1),
		parquet.PageBufferSize(1<<30), parquet.DataPageStatistics(false), parquet.SkipPageBounds("value"))
	_, err := w.Write(rows)
	v.must(err)
	v.must(w.Close())
	return out.Bytes()
}

// replace commits a file in the place of all that the topic has, as a compaction would.
func (v victim) replace(body []byte) string {
	v.put("data/replaced.parquet", body)
	var entry bytes.Buffer
	entry.WriteString(commitInfo("OPTIMIZE"))
	v.must(filepath.WalkDir(filepath.Join(v.path, "data"), func(path string, d fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(v.path, path); err == nil && !d.IsDir() && name != "data/replaced.parquet" {
			fmt.Fprintf(&entry, `{"remove":{"path":%q,"deletionTimestamp":%d,"dataChange":false,"partitionValues":{}}}`+"\n", name, time.Now().UnixMilli())
		}
		return err
	}))
	fmt.Fprintf(&entry, `{"add":{"path":"data/replaced.parquet","partitionValues":{},"size":%d,"modificationTime":1,"dataChange":false,"stats":%q}}`+"\n",
		len(body), statsOf(0, victimRecords-1, victimRecords))
	v.put(v.entry(1), entry.Bytes())
	return fmt.Sprintf("%d KiB", len(body)>>10)
}

// TestHostileBytesInTheBucketTakeNothingDown: what is left in the table of a topic stops that
// topic at most, with an error that clients understand and a line in the log that says what to
// do, while a neighbour goes on in bounded memory; when the bytes are put back the topic goes on,
// without a restart.
func TestHostileBytesInTheBucketTakeNothingDown(t *testing.T) {
	s := directory(t)
	s.env = append(s.env, fmt.Sprint("GOMEMLIMIT=", abuseGoMemory))
	b := startSluice(t, s, "--log-level", "info")
	a := &abuse{t: t, b: b}
	all := slices.Concat(entryDamages, checkpointDamages, dataDamages)
	var writers sync.WaitGroup
	for n := range all {
		a.make(victimName(n), 1)
		c := a.dial()
		writers.Go(func() {
			for range victimRecords {
				if codes := c.produce(victimName(n), oneRecord([]byte("before")).bytes()); len(codes) != 1 || codes[0] != 0 {
					t.Error("before anything is damaged:", codes)
				}
			}
		})
	}
	writers.Wait()
	// What lies in the root beside the topics is nobody's business.
	tidy := clutter(t, s.url)
	b.stop(t) // so that each topic is opened anew
	b.restart(t)
	a.n = startLoad(t, b, "neighbour")
	a.n.progress(2000)
	for n, d := range all {
		t.Run(d.name, func(t *testing.T) { a.damaged(t, d, victimName(n)) })
		if !a.lives() {
			t.Fatalf("%s ended the broker:\n%s", d.name, b.err.tail(30))
		}
	}
	a.n.finish(t)
	a.n.requireUnmoved(t)
	b.logsNoPanic(t)
	a.n.check(t)
	tidy()
	t.Logf("\n%-37s | %-7s | %5s | %9s | %s\n%s", "row", "p99", "x", "peak RSS", "what was done", strings.Join(a.table, "\n"))
}

func victimName(n int) string { return fmt.Sprintf("victim-%d", n) }

// clutter fills a root with what is no topic, until tidy is called.
func clutter(t *testing.T, root string) (tidy func()) {
	t.Helper()
	var made []string
	in := func(name string) string {
		made = append(made, filepath.Join(root, name))
		return made[len(made)-1]
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range many(2000) {
		must(os.Mkdir(in(fmt.Sprintf("folder-%d", n)), 0o755))
	}
	for _, name := range []string{"...", "a b", "ü", "new\nline", strings.Repeat("n", 250), "_delta_log", "%2e%2e", "-rf", "~", "nul\x01"} {
		log := filepath.Join(in(name), "_delta_log")
		must(os.MkdirAll(log, 0o755))
		must(os.WriteFile(filepath.Join(log, "00000000000000000000.json"), []byte("{"), 0o644))
	}
	must(os.WriteFile(in("a-file"), []byte("x"), 0o644))
	must(os.Symlink("/", in("symlink")))
	must(os.Symlink("loop", in("loop")))
	must(syscall.Mkfifo(in("pipe"), 0o644))
	return func() {
		for _, path := range made {
			must(os.RemoveAll(path))
		}
	}
}

// damaged is one row: the topic's table is damaged, used, and put back.
func (a *abuse) damaged(t *testing.T, d damage, topic string) {
	a.t = t
	v := victim{t: t, path: filepath.Join(a.b.store.url, topic)}
	entries, err := filepath.Glob(filepath.Join(v.path, "_delta_log", "*.json"))
	v.must(err)
	v.tip = int64(len(entries) - 1)
	saved := t.TempDir()
	v.must(os.CopyFS(saved, os.DirFS(v.path)))
	quiet := a.quiet(hold() / 2)
	did := d.do(v)

	a.resetPeak()
	from := a.n.count()
	said := len(a.b.err.sofar())
	var codes []int16
	for range 2 { // who asks asks again
		var crowd sync.WaitGroup
		for range 8 {
			crowd.Go(func() { a.use(topic) })
		}
		codes = append(codes, a.use(topic)...)
		crowd.Wait()
		time.Sleep(hold() / 8)
	}
	for i, code := range codes {
		want := kerr.KafkaStorageError.Code
		if d.served || d.written && i%2 == 1 {
			want = 0
		}
		if code != want {
			t.Errorf("clients were answered %v", codes)
			break
		}
	}
	advice := ""
	for _, line := range a.b.err.sofar()[said:] {
		if strings.Contains(line, topic) && strings.Contains(line, "level=ERROR") {
			advice = line
		}
	}
	if !d.served && !(strings.Contains(advice, "goes on") || strings.Contains(advice, "new topic")) {
		t.Errorf("the log does not say what to do: %q", advice)
	}
	if len(advice) > 3000 {
		t.Errorf("a line of %d bytes in the log", len(advice))
	}
	a.report(t, d.name, did+fmt.Sprint(" -> ", codes), quiet, from)

	if d.repair != nil {
		d.repair(v)
	} else {
		v.must(os.RemoveAll(v.path))
		v.must(os.CopyFS(v.path, os.DirFS(saved)))
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if codes = a.use(topic); codes[0] == 0 && codes[1] == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("repaired, and clients are still answered %v:\n%s", codes, a.b.err.tail(5))
		}
	}
}

// use reads a topic from its start and writes to it, and returns the two error codes.
func (a *abuse) use(topic string) []int16 {
	a.t.Helper()
	c := a.dial()
	defer c.Close()
	req := fetchRequest(topic, 1, 1<<20, 100)
	c.shout(requestFrame(req))
	body := c.answer(time.Minute)
	if body == nil {
		a.t.Fatal("a fetch is not answered")
	}
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if err := resp.ReadFrom(body); err != nil {
		a.t.Fatal(err)
	}
	fetched := resp.Topics[0].Partitions[0]
	codes := []int16{fetched.ErrorCode}
	if fetched.ErrorCode == 0 && len(fetched.RecordBatches) == 0 {
		a.t.Error("records are gone")
	}
	written := c.produce(topic, oneRecord([]byte("after")).bytes())
	if len(written) != 1 {
		a.t.Fatal("a produce is not answered")
	}
	return append(codes, written[0])
}
