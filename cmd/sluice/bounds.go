package main

import (
	"runtime"
	"time"

	"sluice/broker"
	"sluice/offsets"
	"sluice/storage"
	"sluice/storage/delta"
)

// bounds are what a broker may hold in memory, in bytes, and ask of its store.
type bounds struct {
	tail, blocks, pending   int64 // of storage
	table, tables           int64 // the state of one table, and of all
	produce, other, answers int64 // of requests, and of answers
	connections             int   // at a time, unless a setting says how many; 0: the default
	groups, group           int64 // of the members of all consumer groups, and of one; 0: the defaults
	disk                    disk
	pace                    pace
}

// newBounds divides the memory limit, if there is one: about half of it, at most, is for
// what clients can fill; the other half is for what is made of that (decoded,
// encoded, compressed) and for the garbage between two collections. Without a
// limit the packages' own defaults hold.
func newBounds(s settings, u storeURL, memory int64) bounds {
	const mib = 1 << 20
	share := func(part, standard int64) int64 {
		if memory == 0 {
			return standard
		}
		return max(mib, min(standard, memory/part))
	}
	d := broker.DefaultConfig()
	b := bounds{
		tail: share(8, 128*mib), blocks: share(16, 64*mib), pending: share(8, 256*mib),
		produce: share(8, d.ProduceMemory), other: share(32, d.OtherMemory), answers: share(16, d.AnswerMemory),
		table:       share(4, delta.DefaultMemory),
		tables:      memory / 3,
		connections: int(memory / connectionMemory),
		groups:      memory / 16, group: min(8*mib, memory/256),
		pace: paceOf(u, s3Endpoint(), s.storeLatency),
	}
	if b.disk = newDisk(u, s.cacheDir, s.cacheBytes); b.disk.dir != "" || u.scheme == "file" {
		// What leaves memory is on a disk of the broker, be it as Parquet: a quarter of a
		// second of a busy broker is enough for consumers that keep up.
		b.tail = share(16, 32*mib)
	}
	if u.scheme == "file" {
		// What is rebuilt from files of a directory hides no latency of requests: enough of it
		// keeps the processors at work.
		b.blocks = min(b.blocks, max(32*mib, 8*mib*int64(runtime.GOMAXPROCS(0))))
	}
	if s.putsPerSecond >= 0 {
		b.pace.puts = float64(s.putsPerSecond)
	}
	return b
}

// connectionMemory is for how many bytes of the memory limit there may be a connection.
// An idle one takes some 25 KiB.
const connectionMemory = 64 << 10

// broker applies the bounds to a broker's configuration. A request is held whole,
// so that none may be larger than the memory of all.
func (b bounds) broker(c broker.Config) broker.Config {
	c.ProduceMemory, c.OtherMemory, c.AnswerMemory = b.produce, b.other, b.answers
	c.MaxFrame = int32(min(int64(c.MaxFrame), b.produce))
	c.MaxOtherFrame = int32(min(int64(c.MaxOtherFrame), b.other))
	c.FetchMaxBytes = int32(min(int64(c.FetchMaxBytes), b.answers))
	if d := broker.DefaultConfig(); b.connections > 0 && c.MaxConnections == d.MaxConnections {
		c.MaxConnections = min(c.MaxConnections, b.connections)
	}
	return c
}

// engine is the writer's name in commitInfo.
func engine() string { return "sluice/" + version() }

func (b bounds) topics(s settings, n *node) storage.Options {
	return storage.Options{
		Defaults:       s.topicDefaults,
		CommitInterval: b.pace.interval,
		PutsPerSecond:  b.pace.puts,
		TailBytes:      int(b.tail), BlockBytes: int(b.blocks), PendingBytes: b.pending,
		DiskDir: b.disk.dir, DiskBytes: b.disk.bytes, DiskShare: b.disk.share,
		TableBytes: b.table, TablesBytes: b.tables,
		Engine:     engine(),
		Registerer: n.metrics,
		Log:        n.log,
	}
}

// offsets are under the budget of the topics, which are open by then.
func (b bounds) offsets(s settings, n *node) offsets.Options {
	return offsets.Options{
		Retention:      s.offsetsRetention,
		CommitInterval: b.pace.interval,
		Budget:         n.topics.Budget(),
		Memory:         n.topics.Memory(),
		Engine:         engine(),
		Log:            n.log,
	}
}

// pace is what a kind of store can take, and costs.
type pace struct {
	interval time.Duration // between two versions of a busy table
	puts     float64       // a second, for all topics; 0: no budget
}

// Puts are free in a directory. A MinIO on two cores does about 1,400 a second,
// of which others want some, and half of that if it shares them with the broker: then
// 1,000 topics had an ack after 6.9 s with a budget of 500, and after 10.8 s with one of
// 1,000, which is no bound. One topic that is committed all the time
// (sluice.commit.interval.ms=0) would use 670, and has to be given them. At Amazon 1,000 cost half a cent: 100 a second, when
// all are used all the time, are about $1,300 a month.
var (
	localPace  = pace{50 * time.Millisecond, 0}
	serverPace = pace{50 * time.Millisecond, 500}
	amazonPace = pace{150 * time.Millisecond, 100}
	// A put to S3 Express takes 9 ms and costs less than a quarter.
	expressPace = pace{20 * time.Millisecond, 500}
)

// paceOf is the pace of a store, or of the one that its latency resembles.
func paceOf(u storeURL, endpoint, latency string) pace {
	switch {
	case latency == "s3-standard":
		return amazonPace
	case latency == "s3-express":
		return expressPace
	case u.scheme != "s3":
		return localPace
	case endpoint != "":
		return serverPace
	}
	return amazonPace
}
