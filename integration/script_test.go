//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// partitions of every topic in these tests: of three members, one has two.
const partitions = 4

// row is a client on a store of its own, going through the script: the same
// checks for every client, each a subtest whose outcome is a cell of the report
// card.
type row struct {
	client
	t      *testing.T // the row's, which outlives its checks
	b      *sluice
	topic  string
	passed map[string]bool // checks, for those that build on them
	all    []record        // what was acked to topic
	last   int64           // ms, when the last codec's records were made
	group  groupOfThree
}

// groupOfThree is what the checks of the group hand on to each other.
type groupOfThree struct {
	topic, name string
	members     members
	written     []record
	gone        []record // what members that are gone had read
}

// run goes through the script.
func (r *row) run(t *testing.T) {
	r.passed = map[string]bool{}
	r.topic = "of-client"
	r.check(t, "create", func(t *testing.T) { r.create(t, r.b, r.topic, partitions) })
	for _, codec := range allCodecs {
		r.check(t, "produce/"+codec, func(t *testing.T) { r.produces(t, codec) }, "create")
	}
	r.check(t, "produce/where it likes", r.producesWhereItLikes, "create")
	r.check(t, "idempotent", r.wasIdempotent, "create")
	r.check(t, "read/earliest", func(t *testing.T) { r.reads(t, "earliest", 0) }, "create")
	r.check(t, "read/offset", func(t *testing.T) { r.reads(t, "offset", 7) }, "create")
	r.check(t, "read/timestamp", func(t *testing.T) { r.reads(t, "timestamp", r.last) }, "create")
	r.check(t, "read/another's", r.readsAnothers)
	if r.plain != nil {
		r.check(t, "read/all that a record can be", func(t *testing.T) { t.Skip("client: " + r.leavesOut) })
	}

	r.check(t, "group/three share", r.threeShare, "create")
	r.check(t, "group/one leaves", r.oneLeaves, "group/three share")
	r.check(t, "group/one is killed", r.oneIsKilled, "group/three share", "group/one leaves")

	r.b.stop(t)
	r.b.restart(t)
	r.check(t, "restart/group goes on", r.goesOn, "group/three share", "group/one leaves", "group/one is killed")
	r.check(t, "restart/member returns", r.returns, "group/three share", "group/one leaves", "group/one is killed", "restart/group goes on")
	r.check(t, "restart/read", func(t *testing.T) { r.reads(t, "earliest", 0) }, "create")

	for _, e := range []engine{deltaRs, duckDB, polars} {
		r.check(t, "engines/"+e.name, func(t *testing.T) { r.isSeenBy(t, e) }, "create")
	}
	r.administers(t)
	for _, missing := range notThereYet {
		r.check(t, missing.check, func(t *testing.T) { t.Skip("not there yet: " + missing.why) })
	}
}

// notThereYet is what Sluice does not offer: its cells say so, until somebody who
// builds it writes their check.
var notThereYet = []struct{ check, why string }{
	{"transactions", "KIP-98 is not served, nor advertised"},
	{"SASL", "only PLAINTEXT listeners"},
	{"TLS", "only PLAINTEXT listeners"},
	{"KIP-848", "the group protocol of KIP-848 is not served, nor advertised"},
}

// check runs one check, unless one that it builds on failed or the client lacks
// what it is about.
func (r *row) check(t *testing.T, name string, f func(t *testing.T), needs ...string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		group, _, _ := strings.Cut(name, "/")
		for _, lacks := range []string{name, group} {
			if why := r.lacks[lacks]; why != "" {
				t.Skip("client: " + why)
			}
		}
		for _, need := range needs {
			if !r.passed[need] {
				t.Skipf("not run: %q did not pass", need)
			}
		}
		f(t)
		r.passed[name] = !t.Failed()
	})
}

// produces writes with a codec, and the batches are compressed with it.
func (r *row) produces(t *testing.T, codec string) {
	r.last = time.Now().UnixMilli()
	acked := r.produce(t, r.b, r.topic, codec, r.sample(codec, 60, partitions))
	r.all = append(r.all, acked...)
	requireCodec(t, r.b, r.topic, codec, acked)
}

// producesWhereItLikes has the client choose partitions, of records with and
// without keys.
func (r *row) producesWhereItLikes(t *testing.T) {
	records := r.sample("anywhere", 20, partitions)
	for i := range records {
		records[i].partition = anyPartition
	}
	r.all = append(r.all, r.produce(t, r.b, r.topic, "none", records)...)
}

// wasIdempotent looks for a producer id in each batch.
func (r *row) wasIdempotent(t *testing.T) {
	for _, stored := range fetchAll(t, r.b, r.topic, index(t, r.all)) {
		if stored.ProducerID < 0 {
			t.Fatalf("%d/%d has no producer id", stored.Partition, stored.Offset)
		}
	}
}

// reads has the client read each partition from a place.
func (r *row) reads(t *testing.T, kind string, n int64) {
	want := index(t, r.all)
	requireDense(t, want)
	first := map[int32]int64{} // for timestamps: the first offset as new
	for at, rec := range want {
		if old, ok := first[at.partition]; rec.timestamp >= n && (!ok || at.offset < old) {
			first[at.partition] = at.offset
		}
	}
	for at := range want {
		if start, ok := first[at.partition]; kind == "offset" && at.offset < n || kind == "timestamp" && (!ok || at.offset < start) {
			delete(want, at)
		}
	}
	from := kind
	if kind != "earliest" {
		from += "=" + strconv.FormatInt(n, 10)
	}
	requireSame(t, r.name+" from "+from, want, r.read(t, r.b, r.topic, len(want), from))
}

// readsAnothers has the client read what franz-go wrote, with all codecs.
func (r *row) readsAnothers(t *testing.T) {
	const topic = "of-another"
	createTopic(t, connect(t, r.b), topic)
	var want []record
	for _, codec := range allCodecs {
		want = append(want, writeWith(t, r.b, topic, codec, r.sample(codec, 40, partitions))...)
	}
	requireSame(t, r.name+" reads franz-go's", index(t, want), r.read(t, r.b, topic, len(want), "earliest"))
}

// writeWith writes records with franz-go and a codec, and returns them with their
// places.
func writeWith(t *testing.T, b *sluice, topic, codec string, records []record) []record {
	t.Helper()
	with := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}[codec]
	cl := connect(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(with))
	var wrong error
	for i := range records {
		cl.Produce(t.Context(), records[i].kgo(topic), func(ack *kgo.Record, err error) {
			wrong = errors.Join(wrong, err)
			records[i].offset = ack.Offset
		})
	}
	err := cl.Flush(t.Context())
	if err = errors.Join(err, wrong); err != nil {
		t.Fatal(err)
	}
	return records
}

// threeShare starts a group of three, which reads each record once.
func (r *row) threeShare(t *testing.T) {
	g := &r.group
	g.topic, g.name = "of-group", "group"
	r.create(t, r.b, g.topic, partitions)
	for range 3 {
		// They end with the row, not with this check.
		g.members = append(g.members, r.consume(r.t, r.b, g.topic, g.name))
	}
	g.members.use(t)
	g.members.balance(t, partitions)
	r.more(t, "none")
	requireSame(t, r.name, index(t, g.written), g.members.read(t, len(g.written)))
	requireOnePartitionEach(t, g.members)
}

// more writes to the group's topic.
func (r *row) more(t *testing.T, codec string) {
	t.Helper()
	g := &r.group
	g.written = append(g.written, r.produce(t, r.b, g.topic, codec, r.sample(fmt.Sprint("more", len(g.written)), 40, partitions))...)
	requireDense(t, index(t, g.written))
}

// oneLeaves has a member leave in order: the others take its partitions up where
// it committed, so that each record is still read once.
func (r *row) oneLeaves(t *testing.T) {
	g := &r.group
	g.members.use(t)
	leaver := g.members[0]
	leaver.leave()
	g.gone, _ = leaver.told()
	g.members = g.members[1:]
	g.members.balance(t, partitions)
	r.more(t, "none")
	rest := g.members.read(t, len(g.written)-len(g.gone))
	requireSame(t, r.name+" after one left", index(t, g.written), append(rest, g.gone...))
}

// oneIsKilled kills a member: when its session is over, the last has all
// partitions and reads what the other had not committed.
func (r *row) oneIsKilled(t *testing.T) {
	g := &r.group
	g.members.use(t)
	g.members[0].kill()
	killed, _ := g.members[0].told()
	g.gone = append(g.gone, killed...)
	g.members = g.members[1:]
	g.members.balance(t, partitions)
	r.more(t, "none")
	r.readsTheRest(t)
}

// readsTheRest waits until the group's last member and those that are gone have
// read all between them, some records perhaps twice.
func (r *row) readsTheRest(t *testing.T) {
	t.Helper()
	g := &r.group
	written := index(t, g.written)
	var seen map[id]record
	g.members.until(t, "a record is not read", func() bool {
		records, _ := g.members[0].told()
		seen = map[id]record{}
		for _, rec := range append(records, g.gone...) {
			seen[rec.id()] = rec
		}
		return len(seen) >= len(written)
	})
	var got []record
	for _, rec := range seen {
		got = append(got, rec)
	}
	requireSame(t, r.name, written, got)
}

// goesOn: the broker has restarted under the member, which reads on.
func (r *row) goesOn(t *testing.T) {
	g := &r.group
	g.members.use(t)
	r.more(t, "none")
	r.readsTheRest(t)
	g.members[0].leave()
	requireCommitted(t, r.b, g.topic, g.name, index(t, g.written))
}

// returns: a member finds only what came since the group was left.
func (r *row) returns(t *testing.T) {
	g := &r.group
	before := len(g.written)
	r.more(t, "none")
	alone := members{r.consume(t, r.b, g.topic, g.name)}
	alone.balance(t, partitions)
	requireSame(t, r.name+" after its return", index(t, g.written[before:]), alone.read(t, len(g.written)-before))
	alone.leave()
	requireCommitted(t, r.b, g.topic, g.name, index(t, g.written))
}

// isSeenBy has an engine read the tables of what the client wrote.
func (r *row) isSeenBy(t *testing.T, e engine) {
	session := e.open(t, r.b.store)
	defer session.kill()
	for topic, records := range map[string][]record{r.topic: r.all, r.group.topic: r.group.written} {
		if len(records) > 0 {
			requireSame(t, e.name, index(t, records), session.records(t, "rows", r.b.store.table(topic)))
		}
	}
}

// adminCalls are what admin clients do, in this order, and what each must print:
// the topic has 4 partitions with 10 records each, of which the group has
// committed 5 each.
var adminCalls = []struct{ name, want string }{
	{"brokers", "1"},         // describe the cluster
	{"topics", "yes"},        // list topics: it is there
	{"partitions", "4"},      // describe the topic
	{"config", "3600000"},    // set retention.ms, read it back
	{"ends", "40"},           // list the newest offsets: their sum
	{"delete-records", "5"},  // of partition 0 below 5: where it begins now
	{"groups", "yes"},        // list groups: it is there
	{"group", "Empty"},       // describe it: its state
	{"group-offsets", "20"},  // what it has committed: the sum
	{"alter-offsets", "3"},   // of partition 0 to 3, read back
	{"delete-offsets", "3"},  // of partition 0: how many partitions are left
	{"delete-group", "done"}, //
	{"add-partitions", "6"},  // two more, described again
	{"delete-topic", "done"}, //
}

// administers runs the client's admin calls on a topic and a group.
func (r *row) administers(t *testing.T) {
	const topic, group = "of-admin", "administered"
	said, failed := map[string]string{}, map[string]string{}
	t.Run("admin", func(t *testing.T) {
		if why := r.lacks["admin"]; why != "" {
			t.Skip("client: " + why)
		}
		cl := connect(t, r.b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(t, cl, topic)
		commits := kadm.Offsets{}
		for p := range int32(partitions) {
			for _, rec := range sample("admin", 10, 1) {
				rec.partition = p
				if err := cl.ProduceSync(t.Context(), rec.kgo(topic)).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			commits.Add(kadm.Offset{Topic: topic, Partition: p, At: 5, LeaderEpoch: -1})
		}
		if err := kadm.NewClient(cl).CommitAllOffsets(t.Context(), group, commits); err != nil {
			t.Fatal(err)
		}
		p := r.start(t, "admin", r.b.address, topic, group)
		if code := p.wait(clientTimeout); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		for _, line := range p.out.sofar() {
			switch f := strings.SplitN(line, "\t", 3); {
			case len(f) == 3 && f[0] == "admin":
				said[f[1]] = f[2]
			case len(f) == 3 && f[0] == "failed":
				failed[f[1]] = f[2]
			}
		}
		if len(said) == 0 {
			t.Fatal("it made no call")
		}
		for _, call := range adminCalls {
			t.Run(call.name, func(t *testing.T) {
				got, ok := said[call.name]
				switch why, wrong := failed[call.name]; {
				case r.lacks["admin/"+call.name] != "":
					t.Skip("client: " + r.lacks["admin/"+call.name])
				case wrong:
					t.Fatal(why)
				case !ok:
					t.Skip("client: its admin client has no such call")
				case got != call.want:
					t.Fatalf("%s, want %s", got, call.want)
				}
			})
		}
	})
}

// kgo is the record as franz-go writes it.
func (r record) kgo(topic string) *kgo.Record {
	k := &kgo.Record{Topic: topic, Partition: r.partition, Key: r.key, Value: r.value, Timestamp: time.UnixMilli(r.timestamp)}
	for _, h := range r.headers {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.name, Value: h.value})
	}
	return k
}

// requireOnePartitionEach checks that no partition's records went to two members.
func requireOnePartitionEach(t *testing.T, ms members) {
	t.Helper()
	owner := map[int32]*member{}
	for _, m := range ms {
		records, _ := m.told()
		if len(records) == 0 {
			t.Errorf("%s has read nothing", m.name)
		}
		for _, r := range records {
			if other := owner[r.partition]; other != nil && other != m {
				t.Fatalf("two members have read partition %d", r.partition)
			}
			owner[r.partition] = m
		}
	}
}

// requireCommitted checks with another client that the group's committed offsets
// are behind the last records.
func requireCommitted(t *testing.T, b *sluice, topic, group string, records map[id]record) {
	t.Helper()
	want := map[int32]int64{}
	for key := range records {
		want[key.partition] = max(want[key.partition], key.offset+1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	offsets, err := kadm.NewClient(connect(t, b)).FetchOffsets(ctx, group)
	if err != nil {
		t.Fatal(err)
	}
	for p, next := range want {
		if got, ok := offsets.Lookup(topic, p); !ok || got.At != next {
			t.Errorf("group %s: partition %d is committed at %d, want %d", group, p, got.At, next)
		}
	}
}

// requireCodec checks that the batches of records arrived compressed with the
// codec: librdkafka and others silently send them as they are where ApiVersions
// does not say what they expect. Batches of short values may come as they are: some
// clients send so what would not shrink.
func requireCodec(t *testing.T, b *sluice, topic, codec string, records []record) {
	t.Helper()
	want := map[string]uint8{"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}[codec]
	for _, r := range fetchAll(t, b, topic, index(t, records)) {
		if len(r.Value) > 300 && r.Attrs.CompressionType() != want {
			t.Fatalf("%d/%d: the batch has codec %d, written with %s (%d)",
				r.Partition, r.Offset, r.Attrs.CompressionType(), codec, want)
		}
	}
}

// fetchAll is records of a topic as franz-go reads them, with what a batch says.
func fetchAll(t *testing.T, b *sluice, topic string, wanted map[id]record) []*kgo.Record {
	t.Helper()
	from := map[int32]kgo.Offset{}
	for at := range wanted {
		from[at.partition] = kgo.NewOffset().AtStart()
	}
	cl := connect(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var found []*kgo.Record
	for len(found) < len(wanted) {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d records of %d found: %v", len(found), len(wanted), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if _, ok := wanted[id{r.Partition, r.Offset}]; ok {
				found = append(found, r)
			}
		})
	}
	return found
}

// connect is a franz-go client of the broker that ends with the test.
func connect(t *testing.T, b *sluice, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.address)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clients = append(b.clients, cl)
	return cl
}
