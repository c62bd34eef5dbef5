//go:build integration

package integration

import (
	varint "encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestAttacks are those who speak the protocol, and lie or want too much.
var requestAttacks = []attack{
	{"counts that lie, each API", forgedCounts},
	{"mutated requests, each API", mutatedRequests},
	{"batches that lie", lyingBatches},
	{"decompression bombs", bombs},
	{"bombs within the limit", bombsWithin},
	{"topic names", topicNames},
	{"groups of large members", largeMembers},
	{"many groups", manyGroups},
	{"fetches of everything", fetchEverything},
	{"producer ids", producerIDs},
	{"too many topics", tooManyTopics}, // no other topic can be made behind it
	{"large answers, unread", unreadLarge},
}

// make creates a topic.
func (a *abuse) make(topic string, partitions int32) {
	a.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, 1
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(a.t.Context(), connect(a.t, a.b))
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// fill writes n bytes to partition 0 of a new topic, which do not compress.
func (a *abuse) fill(topic string, n int) {
	a.t.Helper()
	a.make(topic, 1)
	value := make([]byte, 512<<10)
	source := rand.NewChaCha8([32]byte{7})
	_, _ = source.Read(value)
	c := a.dial()
	defer c.Close()
	for written := 0; written < n; written += len(value) {
		if codes := c.produce(topic, oneRecord(value).bytes()); len(codes) != 1 || codes[0] != 0 {
			a.t.Fatalf("filling a topic: %v", codes)
		}
	}
}

// served are the requests of all APIs and versions that the broker advertises.
func (a *abuse) served() []kmsg.Request {
	a.t.Helper()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(a.t.Context(), connect(a.t, a.b))
	if err != nil {
		a.t.Fatal(err)
	}
	var all []kmsg.Request
	for _, k := range resp.ApiKeys {
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			req := kmsg.RequestForKey(k.ApiKey)
			req.SetVersion(v)
			all = append(all, req)
		}
	}
	return all
}

// endure sends frames, each on a connection of its own: each is answered or ends it, soon.
func (a *abuse) endure(frames [][]byte) {
	a.t.Helper()
	next := make(chan []byte)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for f := range next {
				c := a.dial()
				if c.shout(f) {
					_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
					if !c.ends(45 * time.Second) {
						a.t.Errorf("a connection hangs: %.60x", f)
					}
				}
				c.Close()
			}
		})
	}
	for _, f := range frames {
		next <- f
	}
	close(next)
	wg.Wait()
}

// forgedCounts: bodies of nothing but the largest counts, in both encodings.
func forgedCounts(a *abuse) string {
	var frames [][]byte
	for _, req := range a.served() {
		head := requestFrame(req)[:8] // size, key, version
		for _, fill := range [][]byte{
			{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0, 0, 0x7f, 0xff}, {0}, {0xff}, {0, 0, 0, 1},
		} {
			for _, size := range []int{16, 300, 64 << 10} {
				f := append(slices.Clone(head), 0, 0, 0, 1, 0xff, 0xff) // correlation id, no client id
				if req.IsFlexible() {
					f = append(f, 0)
				}
				for len(f) < size {
					f = append(f, fill...)
				}
				varint.BigEndian.PutUint32(f, uint32(len(f)-4))
				frames = append(frames, f)
			}
		}
	}
	if !*abuseLong {
		frames = sampleOf(frames, 1000)
	}
	a.endure(frames)
	return fmt.Sprintf("%d frames", len(frames))
}

// mutatedRequests: what kmsg makes of each request, with a few bytes changed.
func mutatedRequests(a *abuse) string {
	rng := rand.New(rand.NewPCG(3, 4))
	var frames [][]byte
	for _, req := range a.served() {
		sound := requestFrame(req)
		for range 10 {
			f := slices.Clone(sound)
			for range 1 + rng.IntN(4) {
				f[8+rng.IntN(len(f)-8)] = byte(rng.IntN(256))
			}
			if cut := rng.IntN(len(f)-8) + 8; rng.IntN(3) == 0 {
				f = f[:max(cut, 12)]
				varint.BigEndian.PutUint32(f, uint32(len(f)-4))
			}
			frames = append(frames, f)
		}
	}
	if !*abuseLong {
		frames = sampleOf(frames, 1000)
	}
	a.endure(frames)
	return fmt.Sprintf("%d frames", len(frames))
}

// sampleOf is about n of all, evenly.
func sampleOf(all [][]byte, n int) [][]byte {
	if len(all) <= n {
		return all
	}
	some := make([][]byte, 0, n)
	for i := range n {
		some = append(some, all[i*len(all)/n])
	}
	return some
}

// lyingBatches: each is refused with the code that Kafka gives, and none is written.
func lyingBatches(a *abuse) string {
	a.make("lies", 1)
	good := oneRecord([]byte("v"))
	with := func(change func(*batch)) []byte {
		b := good
		change(&b)
		return b.bytes()
	}
	corpus := []struct {
		what  string
		bytes []byte
		code  *kerr.Error
	}{
		{"a wrong checksum", with(func(b *batch) { b.checksumLie = true }), kerr.CorruptMessage},
		{"a length beyond the bytes", with(func(b *batch) { b.lengthLie = true }), kerr.InvalidRecord},
		{"magic 0", with(func(b *batch) { b.magic = 0 }), nil},
		{"magic 1", with(func(b *batch) { b.magic = 1 }), nil},
		{"magic 3", with(func(b *batch) { b.magic = 3 }), nil},
		{"a control batch", with(func(b *batch) { b.attributes = 0x20 }), kerr.InvalidRecord},
		{"an unknown codec", with(func(b *batch) { b.attributes = 7 }), nil},
		{"more records than there are", with(func(b *batch) { b.records, b.lastOffsetDelta = 1000, 999 }), kerr.InvalidRecord},
		{"2^31-1 records", with(func(b *batch) { b.records, b.lastOffsetDelta = math.MaxInt32, math.MaxInt32-1 }), kerr.InvalidRecord},
		{"-1 records", with(func(b *batch) { b.records, b.lastOffsetDelta = -1, -2 }), kerr.InvalidRecord},
		{"a last offset delta that lies", with(func(b *batch) { b.lastOffsetDelta = 5 }), kerr.InvalidRecord},
		{"a base offset", with(func(b *batch) { b.baseOffset = 7 }), kerr.InvalidRecord},
		{"the largest timestamp", with(func(b *batch) { b.firstTime, b.maxTime = math.MaxInt64, math.MaxInt64 }), kerr.InvalidTimestamp},
		{"the smallest timestamp", with(func(b *batch) { b.firstTime, b.maxTime = math.MinInt64, math.MinInt64 }), kerr.InvalidTimestamp},
		{"a transactional batch", with(func(b *batch) { b.attributes, b.producerID, b.epoch, b.sequence = 0x10, 1, 0, 0 }), kerr.InvalidTxnState},
		{"a producer without a sequence", with(func(b *batch) { b.producerID, b.epoch, b.sequence = 5, 0, -1 }), kerr.InvalidRecord},
		{"a record of a length beyond the batch", with(func(b *batch) { b.payload = varint.AppendVarint(nil, math.MaxInt32) }), kerr.InvalidRecord},
		{"a record of negative length", with(func(b *batch) { b.payload = varint.AppendVarint(nil, -9) }), kerr.InvalidRecord},
		{"2^31-1 headers", with(func(b *batch) {
			body := varint.AppendVarint(append([]byte{0, 0, 0, 1, 1}, nil...), math.MaxInt32)
			b.payload = append(varint.AppendVarint(nil, int64(len(body))), body...)
		}), kerr.InvalidRecord},
		{"two batches", append(good.bytes(), good.bytes()...), kerr.InvalidRecord},
		{"no batch", nil, nil},
		{"eleven bytes", make([]byte, 11), nil},
		{"2 MiB", oneRecord(make([]byte, 2<<20)).bytes(), kerr.MessageTooLarge},
	}
	c := a.dial()
	for _, lie := range corpus {
		codes := c.produce("lies", lie.bytes)
		switch {
		case len(codes) != 1 || codes[0] == 0:
			a.t.Errorf("%s: %v", lie.what, codes)
			c = a.dial()
		case lie.code != nil && codes[0] != lie.code.Code:
			a.t.Errorf("%s: %v, want %v", lie.what, kerr.ErrorForCode(codes[0]), lie.code)
		}
	}
	if codes := c.produce("lies", good.bytes()); len(codes) != 1 || codes[0] != 0 {
		a.t.Errorf("a sound batch after all: %v", codes)
	}
	return fmt.Sprintf("%d batches, each refused", len(corpus))
}

// bombs: batches of less than 1 MiB that unfold to 256 MiB and more, or claim to.
func bombs(a *abuse) string {
	a.make("bombs", 8)
	size := 256 << 20
	if *abuseLong {
		size = 1 << 30
	}
	zeros := make([]byte, 64<<10)
	var all [][]byte
	for _, codec := range []int16{1, 3, 4} {
		b := oneRecord(nil)
		b.attributes, b.payload = codec, bomb(a.t, codec, zeros, size)
		if packed := b.bytes(); len(packed) <= 1<<20 {
			all = append(all, packed)
		} else { // lz4 folds to 1/255 only
			b.payload = bomb(a.t, codec, zeros, 200<<20)
			all = append(all, b.bytes())
		}
	}
	// Snappy folds to about 1/21, and claims what it likes.
	for _, claim := range []uint64{1 << 30, math.MaxUint32} {
		b := oneRecord(nil)
		b.attributes, b.payload = 2, append(varint.AppendUvarint(nil, claim), make([]byte, 900<<10)...)
		all = append(all, b.bytes())
	}
	var worst atomic.Int64
	var wg sync.WaitGroup
	n := many(4)
	for range n {
		wg.Go(func() {
			c := a.dial()
			for _, b := range all {
				start := time.Now()
				if codes := c.produce("bombs", b); len(codes) != 1 || codes[0] == 0 {
					a.t.Errorf("a bomb: %v", codes)
					return
				}
				worst.Store(max(worst.Load(), int64(time.Since(start))))
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d x %d, refused within %s", n, len(all), time.Duration(worst.Load()).Round(time.Millisecond))
}

// bombsWithin: sound batches that unfold to just what is allowed, and in the table to
// as much, many at the same time.
func bombsWithin(a *abuse) string {
	a.make("large", 8)
	block := make([]byte, 256<<10) // beyond what snappy, the codec of the table, looks back
	source := rand.NewChaCha8([32]byte{9})
	_, _ = source.Read(block)
	var taken, refused atomic.Int64
	var wg sync.WaitGroup
	for _, size := range []int{60 << 20, 15 << 20} {
		b := oneRecord(nil)
		b.attributes, b.payload = 4, bomb(a.t, 4, block, size)
		packed := b.bytes()
		for range many(16) {
			wg.Go(func() {
				c := a.dial()
				for range 2 {
					codes := c.produce("large", packed)
					if len(codes) == 1 && codes[0] == 0 {
						taken.Add(1)
					} else {
						refused.Add(1)
					}
				}
			})
		}
		wg.Wait()
	}
	return fmt.Sprintf("60 and 15 MiB in some 300 KiB of zstd: %d taken, %d refused", taken.Load(), refused.Load())
}

// topicNames: none leads out of the root, or into what is not a topic.
func topicNames(a *abuse) string {
	names := []string{"", ".", "..", "../x", "../../x", "/etc/x", "a/b", `a\b`, "_sluice", "_delta_log", "_sluice/topics",
		"a\x00b", "ü", "a b", "a\nb", strings.Repeat("a", 250), strings.Repeat("a", 30_000), "%2e%2e", "con:", "\xff\xfe", "~", "$HOME"}
	before := a.folders()
	c := a.dial()
	for _, name := range names {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version = 4
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
		req.Topics = append(req.Topics, t)
		c.shout(requestFrame(req))
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		if body := c.answer(30 * time.Second); body == nil || resp.ReadFrom(body) != nil {
			a.t.Fatalf("no answer to creating %.40q", name)
		}
		if code := resp.Topics[0].ErrorCode; code != kerr.InvalidTopicException.Code && name != "_delta_log" && name != "_sluice" {
			a.t.Errorf("creating %.40q: %v", name, kerr.ErrorForCode(code))
		}
		meta := kmsg.NewPtrMetadataRequest()
		meta.Version, meta.AllowAutoTopicCreation = 4, true
		mt := kmsg.NewMetadataRequestTopic()
		mt.Topic = &name
		meta.Topics = append(meta.Topics, mt)
		c.shout(requestFrame(meta))
		told := meta.ResponseKind().(*kmsg.MetadataResponse)
		if body := c.answer(30 * time.Second); body == nil || told.ReadFrom(body) != nil {
			a.t.Fatalf("no answer to asking for %.40q", name)
		}
		if len(told.Topics) != 1 || told.Topics[0].ErrorCode == 0 && name != "_delta_log" && name != "_sluice" {
			a.t.Errorf("asking for %.40q: %+v", name, told.Topics)
		}
		if codes := c.produce(name, oneRecord([]byte("v")).bytes()); len(codes) != 1 || codes[0] == 0 && name != "_delta_log" {
			a.t.Errorf("producing to %.40q: %v", name, codes)
		}
	}
	after := a.folders()
	made := slices.DeleteFunc(after, func(f string) bool { return slices.Contains(before, f) })
	for _, f := range made {
		if f != "_delta_log" {
			a.t.Errorf("%s was made", f)
		}
	}
	return fmt.Sprintf("%d names, created, asked for and written to; folders made: %v", len(names), made)
}

// folders are those of the root, and those beside it.
func (a *abuse) folders() (all []string) {
	a.t.Helper()
	for _, dir := range []string{a.b.store.url, filepath.Dir(a.b.store.url)} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == dir {
				return err
			}
			if d.IsDir() {
				all = append(all, filepath.Base(path))
				return fs.SkipDir
			}
			return nil
		})
		if err != nil {
			a.t.Fatal(err)
		}
	}
	return all
}

// tooManyTopics: a request for more than there may be is refused whole; so is one that
// makes them by asking for them.
func tooManyTopics(a *abuse) string {
	before := a.metric("sluice_partitions")
	c := a.dial()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 4, 5000
	for i := range 100 {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = fmt.Sprint("flood-", i), 100_000, 1
		req.Topics = append(req.Topics, t)
	}
	c.shout(requestFrame(req))
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	if body := c.answer(time.Minute); body == nil || resp.ReadFrom(body) != nil {
		a.t.Fatal("no answer")
	}
	for _, t := range resp.Topics {
		if t.ErrorCode == 0 {
			a.t.Errorf("%s was made", t.Topic)
		}
	}
	// By asking: 100,000 names in one request.
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version, meta.AllowAutoTopicCreation = 4, true
	for i := range many(10_000) {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(fmt.Sprint("asked-", i))
		meta.Topics = append(meta.Topics, t)
	}
	c.shout(requestFrame(meta))
	start := time.Now()
	if body := c.answer(time.Minute); body == nil {
		a.t.Error("no answer to the names")
	}
	all := a.metric("sluice_partitions")
	made := all - before
	if all > abusePartitions {
		a.t.Errorf("%.0f partitions, at most %d are allowed", all, abusePartitions)
	}
	return fmt.Sprintf("10 million partitions refused; of %d names asked for %.0f were made in %s", len(meta.Topics), made, time.Since(start).Round(time.Millisecond))
}

// unreadLarge: answers that are many times as large as what asks for them, of which
// nobody takes any. There are thousands of topics and groups by now.
func unreadLarge(a *abuse) string {
	topics := kmsg.NewPtrMetadataRequest() // all
	topics.Version = 9
	groups := kmsg.NewPtrListGroupsRequest()
	dirs := kmsg.NewPtrDescribeLogDirsRequest()
	dirs.Version = 4
	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.Version, configs.IncludeSynonyms, configs.IncludeDocumentation = 4, true, true
	for i := range 300 {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, fmt.Sprint("asked-", i)
		configs.Resources = append(configs.Resources, r)
	}
	committed := kmsg.NewPtrOffsetFetchRequest() // 4 kB of metadata for four bytes
	committed.Version = 7
	committed.Group = fmt.Sprintf("group-%d-%s", 0, strings.Repeat("g", 200))
	t := kmsg.NewOffsetFetchRequestTopic()
	t.Topic, t.Partitions = "neighbour", slices.Repeat([]int32{1}, 900)
	committed.Topics = append(committed.Topics, t)
	var frames [][]byte
	for _, req := range []kmsg.Request{topics, groups, dirs, configs, committed} {
		frames = append(frames, requestFrame(req))
	}
	all := a.crowd(many(400))
	defer disperse(all)
	for i, c := range all {
		c.shout(frames[i%len(frames)])
	}
	time.Sleep(hold())
	start := time.Now()
	c := a.dialWith(net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}})
	c.shout(frames[0])
	if c.answer(20*time.Second) == nil { // hosts take turns, and each of the crowd has a second
		a.t.Error("one who reads the answer gets none")
	}
	return fmt.Sprintf("%d connections x 5 kinds; one from elsewhere who reads is answered in %s", len(all), time.Since(start).Round(time.Millisecond))
}

// largeMembers: groups whose members bring megabytes of metadata.
func largeMembers(a *abuse) string {
	all := a.crowd(many(100))
	defer disperse(all)
	metadata := make([]byte, 6<<20)
	var codes sync.Map
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			req := kmsg.NewPtrJoinGroupRequest()
			req.Version, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 3, 30_000, 60_000
			req.Group, req.ProtocolType = fmt.Sprint("large-", i), "consumer"
			p := kmsg.NewJoinGroupRequestProtocol()
			p.Name, p.Metadata = "range", metadata
			req.Protocols = append(req.Protocols, p)
			if !c.shout(requestFrame(req)) {
				return
			}
			resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
			if body := c.answer(hold() + 4*time.Second); body != nil && resp.ReadFrom(body) == nil {
				codes.Store(resp.ErrorCode, true)
			}
		})
	}
	wg.Wait()
	var told []string
	codes.Range(func(code, _ any) bool {
		told = append(told, fmt.Sprint(kerr.ErrorForCode(code.(int16))))
		return true
	})
	return fmt.Sprintf("%d members of 6 MiB each: %.30q", len(all), told)
}

// manyGroups: a group for each request.
func manyGroups(a *abuse) string {
	n := many(2000)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			c := a.dial()
			for i := w; i < n; i += 4 {
				req := kmsg.NewPtrOffsetCommitRequest()
				req.Version, req.Generation = 7, -1
				req.Group = fmt.Sprintf("group-%d-%s", i, strings.Repeat("g", 200))
				t := kmsg.NewOffsetCommitRequestTopic()
				t.Topic = "neighbour"
				p := kmsg.NewOffsetCommitRequestTopicPartition()
				p.Offset, p.Metadata = 1, kmsg.StringPtr(strings.Repeat("m", 5000))
				t.Partitions = append(t.Partitions, p)
				p.Partition, p.Metadata = 1, kmsg.StringPtr(strings.Repeat("m", 4000))
				t.Partitions = append(t.Partitions, p)
				req.Topics = append(req.Topics, t)
				if !c.shout(requestFrame(req)) {
					return
				}
				if i/4%100 == 99 { // many on their way at a time
					for range 100 {
						body := c.answer(time.Minute)
						resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
						if body == nil || resp.ReadFrom(body) != nil {
							a.t.Error("no answer to an offset commit")
							return
						}
						if code := resp.Topics[0].Partitions[0].ErrorCode; code != kerr.OffsetMetadataTooLarge.Code {
							a.t.Errorf("metadata of 5,000 bytes: %v", kerr.ErrorForCode(code))
							return
						}
					}
				}
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d groups, each with 4 kB of metadata", n)
}

// fetchEverything: fetches of 10,000 partitions and 2 GiB, parked for ever.
func fetchEverything(a *abuse) string {
	a.make("wide", 100)
	all := a.crowd(many(60))
	defer disperse(all)
	req := fetchRequest("wide", 0, math.MaxInt32, math.MaxInt32)
	one := req.Topics[0].Partitions[0]
	req.Topics[0].Partitions = nil
	for i := range int32(10_000) {
		one.Partition = i % 100
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, one)
	}
	frame := requestFrame(req)
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { c.shout(frame) })
	}
	wg.Wait()
	time.Sleep(hold())
	return fmt.Sprintf("%d connections x 10,000 partitions, for 24 days", len(all))
}

// producerIDs: a new producer id for each batch.
func producerIDs(a *abuse) string {
	a.make("producers", 100)
	n := many(30_000)
	c := a.dial()
	good := oneRecord([]byte("v"))
	good.epoch, good.sequence = 0, 0
	for id := 0; id < n; {
		var batches [][]byte
		for range 100 {
			good.producerID = int64(id)
			batches = append(batches, good.bytes())
			id++
		}
		for _, code := range c.produce("producers", batches...) {
			if code != 0 {
				a.t.Fatalf("producer %d: %v", id, kerr.ErrorForCode(code))
			}
		}
	}
	// Of the last one each rule holds.
	wrong := func(what string, change func(*batch), want *kerr.Error) {
		b := good
		change(&b)
		batches := slices.Repeat([][]byte{nil}, 100)
		batches[99] = b.bytes()
		codes := c.produce("producers", batches...)
		if len(codes) != 100 || codes[99] != want.Code {
			a.t.Errorf("%s: %v, want %v", what, codes[99:], want)
		}
	}
	wrong("a gap in the sequence", func(b *batch) { b.sequence = 5 }, kerr.OutOfOrderSequenceNumber)
	wrong("the largest sequence", func(b *batch) { b.sequence = math.MaxInt32 }, kerr.OutOfOrderSequenceNumber)
	wrong("a new epoch in the middle", func(b *batch) { b.epoch, b.sequence = 1, 3 }, kerr.OutOfOrderSequenceNumber)
	init := kmsg.NewPtrInitProducerIDRequest()
	cl := connect(a.t, a.b, kgo.ClientID("ids"))
	for range many(200) {
		if _, err := init.RequestWith(a.t.Context(), cl); err != nil {
			a.t.Fatal(err)
		}
	}
	return fmt.Sprintf("%d producer ids", n)
}
