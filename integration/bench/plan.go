//go:build linux

package main

import "fmt"

// group is loads that are put on each of some brokers.
type group struct {
	name  string
	title string
	beds  []bed
	warm  bool // millions of records go through each broker first: a cold JVM takes three to four times the CPU
	loads []load
}

// load is one or more steps on a topic of its own.
type load struct {
	name  string
	steps []step
}

// step is a run of `sluice bench`. In args, TOPIC, SECONDS, WARM, ARTICLE, SUSTAINED,
// LONG (four times SECONDS: with 1,000 topics and 100 puts/s each has its turn after 20 s)
// and OPEN (the flags of the bed) are filled in.
type step struct {
	name, args string
	// merge merges the topic's files first, to files as large as the broker's own
	// compaction makes them in time, and starts the broker again, so that it has nothing
	// of the topic in memory. Only Sluice has such steps.
	merge bool
}

const timing = " --warm-up WARM --duration SECONDS"

// plan are all groups.
var plan = []group{
	{"versus", "Against Apache Kafka", []bed{
		{"directory", "Sluice, directory", "--commit-interval 0", onDirectory()},
		{"minio", "Sluice, MinIO", "", onMinIO()},
		{"fsync", "Kafka, fsync", "", kafka("log.flush.interval.messages=1")},
		{"kafka", "Kafka", "", kafka()},
	}, true, []load{
		// Latencies first: a disk of a virtual machine may stand still for a tenth of a second
		// once gigabytes were written to it, and deleted.
		atRate(10_000, 100), atRate(250_000, 100),
		written(100), tailed(100), written(1024), tailed(1024),
		one("java-100", "max --consumers 0 --client java --compression none --size 100"+timing),
	}},
	{"open", "At a fixed rate", []bed{
		{"minio", "Sluice, MinIO", "", onMinIO()},
		{"10ms", "Sluice, MinIO, 10 ms", "--commit-interval 10", onMinIO()},
		{"s3-standard", "Sluice, S3 Standard's latency", "", onMinIO("sluice.store.latency=s3-standard")},
		{"s3-express", "Sluice, S3 Express's latency", "", onMinIO("sluice.store.latency=s3-express")},
	}, false, []load{
		atRate(10_000, 18), atRate(30_000, 18), atRate(70_000, 18), atRate(150_000, 18), atRate(250_000, 18), atRate(1_000_000, 18),
	}},
	{"floor", "A commit whenever the one before is done", []bed{
		// The default budget of 500 would be what is measured, or a client's five requests in
		// flight, of which without a linger each holds the records of a millisecond.
		{"minio", "Sluice, MinIO, 0 ms, 1,000 puts/s", "--commit-interval 0 --linger 0s --client open", onMinIO("sluice.store.puts.per.second=1000")},
	}, false, []load{atRate(10_000, 18)}},
	{"article", "The article's load", []bed{{"minio", "Sluice, MinIO", "", onMinIO()}}, false, []load{
		article(10_000), article(250_000),
	}},
	{"sustained", "1,000,000 records/s for minutes", []bed{{"minio", "Sluice, MinIO", "", onMinIO()}}, false, []load{
		one("open-1000000", "open --rate 1000000 --size 18 --warm-up WARM --duration SUSTAINED"),
	}},
	// With five requests in flight one client of 1,000 topics would measure its own window.
	{"topics", "1,000 topics of 10 records/s each", []bed{
		{"puts-100", "100 puts/s", "", onMinIO("sluice.store.puts.per.second=100")},
		{"puts-500", "500 puts/s", "", onMinIO("sluice.store.puts.per.second=500")},
		{"puts-1000", "1,000 puts/s", "", onMinIO("sluice.store.puts.per.second=1000")},
	}, false, []load{one("topics-1000", "open --client open --topics 1000 --rate 10000 --size 100 --warm-up SECONDS --duration LONG")}},
	{"partitions", "100 partitions in one topic", []bed{{"minio", "Sluice, MinIO", "", onMinIO()}}, false, []load{
		one("partitions-100", "open --partitions 100 --rate 100000 --size 100"+timing),
	}},
}

// warmUp goes through each broker of a group that is to be warm.
var warmUp = []step{
	{"warm", "max --compression none --size 100 --topic TOPIC --warm-up 0s --duration SECONDS", false},
	{"warm", "open --rate 50000 --warm-up 0s --duration WARM", false},
	{"warm", "read --topic TOPIC", false},
}

// written writes a topic as fast as possible, reads it from its start, and reads it
// again out of merged files.
func written(size int) load {
	return load{fmt.Sprintf("written-%d", size), []step{
		{fmt.Sprintf("produce-%d", size), fmt.Sprintf("max --consumers 0 --compression none --size %d --topic TOPIC", size) + timing, false},
		{fmt.Sprintf("read-%d", size), fmt.Sprintf("read --size %d --topic TOPIC", size), false},
		{fmt.Sprintf("read-merged-%d", size), fmt.Sprintf("read --size %d --topic TOPIC", size), true},
	}}
}

// tailed has a consumer at the end of a topic that is written as fast as possible.
func tailed(size int) load {
	return one(fmt.Sprintf("tail-%d", size), fmt.Sprintf("max --compression none --size %d", size)+timing)
}

func atRate(rate, size int) load {
	return one(fmt.Sprintf("open-%d", rate), fmt.Sprintf("open --rate %d --size %d OPEN", rate, size)+timing)
}

func article(rate int) load {
	return one(fmt.Sprintf("article-%d", rate), fmt.Sprintf("article --rate %d --warm-up WARM --duration ARTICLE", rate))
}

func one(name, args string) load { return load{name, []step{{name, args + " --topic TOPIC", false}}} }
