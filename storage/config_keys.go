package storage

import "math"

// Units of broker properties, in ms.
const (
	minuteMs = 60_000
	hourMs   = 60 * minuteMs
	dayMs    = 24 * hourMs
)

// Defaults that are "no limit" in Kafka.
const (
	maxLong = "9223372036854775807"
	oneMiB  = 1 << 20
)

// inert ends the documentation of the keys that Kafka needs for its files and
// replicas: they are kept and shown, since tools set them, and change nothing.
const inert = " Kept for compatibility; it has no effect on a log that is a Delta table."

// configKeys is the table of all topic configs, sorted by name: those of Apache
// Kafka 4.4 (LogConfig) with their types, defaults and rules, and Sluice's own.
// The test holds it to that order.
var configKeys = []ConfigKey{
	{Name: "cleanup.policy", Type: ConfigList, Default: "delete", Broker: same("log.cleanup.policy"),
		valid: listOf("compact", "delete"),
		Doc:   "What happens to old records: \"delete\" removes them when retention.ms or retention.bytes is reached, \"compact\" keeps the latest record of each key, both together do both, an empty list keeps everything."},
	{Name: "compression.gzip.level", Type: ConfigInt, Default: "-1", Broker: same("compression.gzip.level"),
		valid: either("-1", between(1, 9)),
		Doc:   "The level if compression.type is gzip."},
	{Name: "compression.lz4.level", Type: ConfigInt, Default: "9", Broker: same("compression.lz4.level"),
		valid: between(1, 17),
		Doc:   "The level if compression.type is lz4."},
	{Name: "compression.type", Type: ConfigString, Default: "producer", Broker: same("compression.type"),
		valid: oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
		Doc:   "How batches are compressed for consumers; \"producer\" keeps what the producer chose. The table's files have sluice.parquet.compression."},
	{Name: "compression.zstd.level", Type: ConfigInt, Default: "3", Broker: same("compression.zstd.level"),
		valid: between(-131072, 22),
		Doc:   "The level if compression.type is zstd."},
	{Name: "delete.retention.ms", Type: ConfigLong, Default: "86400000", Broker: same("log.cleaner.delete.retention.ms"),
		valid: atLeast(0),
		Doc:   "How long the tombstone of a deleted key stays in a compacted topic, in ms; a consumer that reads from the start has that long to see it."},
	{Name: "file.delete.delay.ms", Type: ConfigLong, Default: "60000", Broker: same("log.segment.delete.delay.ms"),
		valid: atLeast(0),
		Doc:   "The time that Kafka waits before it deletes a file, in ms; the table's files have sluice.table.deleted.files.ms." + inert},
	{Name: "flush.messages", Type: ConfigLong, Default: maxLong, Broker: same("log.flush.interval.messages"),
		valid: atLeast(1),
		Doc:   "After how many records Kafka forces a sync to disk; here every acknowledged record is committed." + inert},
	{Name: "flush.ms", Type: ConfigLong, Default: maxLong, Broker: same("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
		valid: atLeast(0),
		Doc:   "After which time Kafka forces a sync to disk, in ms; here every acknowledged record is committed." + inert},
	{Name: "follower.replication.throttled.replicas", Type: ConfigList, Default: "",
		valid: throttledReplicas,
		Doc:   "Replicas whose replication is throttled on the follower's side." + inert},
	{Name: "index.interval.bytes", Type: ConfigInt, Default: "4096", Broker: same("log.index.interval.bytes"),
		valid: atLeast(0),
		Doc:   "How many bytes lie between two entries of Kafka's offset index." + inert},
	{Name: "leader.replication.throttled.replicas", Type: ConfigList, Default: "",
		valid: throttledReplicas,
		Doc:   "Replicas whose replication is throttled on the leader's side." + inert},
	{Name: "local.retention.bytes", Type: ConfigLong, Default: "-2", Broker: same("log.local.retention.bytes"),
		valid: atLeast(-2),
		Doc:   "How much of a tiered partition Kafka keeps on the broker's disk, in bytes." + inert},
	{Name: "local.retention.ms", Type: ConfigLong, Default: "-2", Broker: same("log.local.retention.ms"),
		valid: atLeast(-2),
		Doc:   "How long Kafka keeps a tiered partition on the broker's disk, in ms." + inert},
	{Name: "max.compaction.lag.ms", Type: ConfigLong, Default: maxLong, Broker: same("log.cleaner.max.compaction.lag.ms"),
		valid: atLeast(1),
		Doc:   "The longest time that a record of a compacted topic stays uncompacted, in ms."},
	{Name: "max.message.bytes", Type: ConfigInt, Default: "1048588", Broker: same("message.max.bytes"),
		valid: atLeast(0),
		Doc:   "The largest record batch that is accepted, in bytes, after compression by the producer."},
	{Name: "message.timestamp.after.max.ms", Type: ConfigLong, Default: "3600000", Broker: same("log.message.timestamp.after.max.ms"),
		valid: atLeast(0),
		Doc:   "How far a record's timestamp may be ahead of the broker's clock, in ms; ignored if message.timestamp.type is LogAppendTime."},
	{Name: "message.timestamp.before.max.ms", Type: ConfigLong, Default: maxLong, Broker: same("log.message.timestamp.before.max.ms"),
		valid: atLeast(0),
		Doc:   "How far a record's timestamp may be behind the broker's clock, in ms; ignored if message.timestamp.type is LogAppendTime."},
	{Name: "message.timestamp.type", Type: ConfigString, Default: "CreateTime", Broker: same("log.message.timestamp.type"),
		valid: oneOf("CreateTime", "LogAppendTime"),
		Doc:   "Whether a record's timestamp is the producer's (CreateTime) or the time when it is appended (LogAppendTime)."},
	{Name: "min.cleanable.dirty.ratio", Type: ConfigDouble, Default: "0.5", Broker: same("log.cleaner.min.cleanable.ratio"),
		valid: ratio,
		Doc:   "Which share of a compacted topic must be uncompacted before it is compacted again."},
	{Name: "min.compaction.lag.ms", Type: ConfigLong, Default: "0", Broker: same("log.cleaner.min.compaction.lag.ms"),
		valid: atLeast(0),
		Doc:   "The shortest time that a record of a compacted topic stays uncompacted, in ms."},
	{Name: "min.insync.replicas", Type: ConfigInt, Default: "1", Broker: same("min.insync.replicas"),
		valid: atLeast(1),
		Doc:   "How many replicas must have a record before it is acknowledged; here the object store replicates." + inert},
	{Name: "preallocate", Type: ConfigBoolean, Default: "false", Broker: same("log.preallocate"),
		Doc: "Whether Kafka preallocates its files." + inert},
	{Name: "remote.copy.lag.bytes", Type: ConfigLong, Default: "0", Broker: same("log.remote.copy.lag.bytes"),
		valid: atLeast(-1),
		Doc:   "How many bytes Kafka waits before it copies a tiered segment." + inert},
	{Name: "remote.copy.lag.ms", Type: ConfigLong, Default: "0", Broker: same("log.remote.copy.lag.ms"),
		valid: atLeast(-1),
		Doc:   "How long Kafka waits before it copies a tiered segment, in ms." + inert},
	{Name: "remote.log.copy.disable", Type: ConfigBoolean, Default: "false",
		Doc: "Whether a tiered topic is read-only in Kafka's remote storage." + inert},
	{Name: "remote.log.delete.on.disable", Type: ConfigBoolean, Default: "false",
		Doc: "Whether Kafka deletes tiered data when tiered storage is turned off." + inert},
	{Name: "remote.storage.enable", Type: ConfigBoolean, Default: "false",
		valid: notTiered,
		Doc:   "Tiered storage; only false, since the whole log is on the object store anyway."},
	{Name: "retention.bytes", Type: ConfigLong, Default: "-1", Broker: same("log.retention.bytes"),
		Doc: "How large a partition may grow before its oldest records are removed, in bytes, if cleanup.policy has \"delete\"; -1 is no limit."},
	{Name: "retention.ms", Type: ConfigLong, Default: "604800000",
		Broker: []Synonym{{Name: "log.retention.ms"}, {Name: "log.retention.minutes", Unit: minuteMs}, {Name: "log.retention.hours", Unit: hourMs}},
		valid:  atLeast(-1),
		Doc:    "How long records are kept, in ms, if cleanup.policy has \"delete\"; -1 is no limit."},
	{Name: "segment.bytes", Type: ConfigInt, Default: "1073741824", Broker: same("log.segment.bytes"),
		valid: atLeast(oneMiB),
		Doc:   "The size of Kafka's log segments, in bytes. Below 8 MiB it is how much of a compacted topic must be uncompacted before it is compacted again; otherwise it has no effect on a log that is a Delta table."},
	{Name: "segment.index.bytes", Type: ConfigInt, Default: "10485760", Broker: same("log.index.size.max.bytes"),
		valid: atLeast(4),
		Doc:   "The size of Kafka's offset index, in bytes." + inert},
	{Name: "segment.jitter.ms", Type: ConfigLong, Default: "0",
		Broker: []Synonym{{Name: "log.roll.jitter.ms"}, {Name: "log.roll.jitter.hours", Unit: hourMs}},
		valid:  atLeast(0),
		Doc:    "A random part of segment.ms, in ms." + inert},
	{Name: "segment.ms", Type: ConfigLong, Default: "604800000",
		Broker: []Synonym{{Name: "log.roll.ms"}, {Name: "log.roll.hours", Unit: hourMs}},
		valid:  atLeast(1),
		Doc:    "The age at which Kafka begins a new log segment, in ms. Below 5 minutes it is the age at which records of a compacted topic that is written to slowly are compacted; otherwise it has no effect on a log that is a Delta table."},
	{Name: "sluice.commit.interval.ms", Type: ConfigLong, Default: "-1", Broker: same("sluice.commit.interval.ms"),
		// An hour between versions is beyond any use, and a wait that long looks like a hang.
		valid: between(-1, hourMs),
		Doc:   "The time between two versions of the table under load, in ms: latency against store requests. 0 commits whenever the commit before is done; -1 follows the store (50 locally and on MinIO, 150 on S3)."},
	{Name: "sluice.parquet.compression", Type: ConfigString, Default: "snappy", Broker: same("sluice.parquet.compression"),
		valid: oneOf("snappy", "zstd", "none"),
		Doc:   "The compression of the table's new data files."},
	{Name: "sluice.table.deleted.files.ms", Type: ConfigLong, Default: "3600000", Broker: same("sluice.table.deleted.files.ms"),
		valid: between(minDeletedMs, math.MaxInt64),
		Doc:   "How long a data file that has left the table stays in the store for readers of older versions, in ms (delta.deletedFileRetentionDuration). Time travel by data reaches back that far."},
	{Name: "sluice.table.history.ms", Type: ConfigLong, Default: "86400000", Broker: same("sluice.table.history.ms"),
		valid: between(minHistoryMs, math.MaxInt64),
		Doc:   "How long the entries of the table's log are kept, in ms (delta.logRetentionDuration); keep it far above the lag of anything that follows the table."},
	{Name: "sluice.table.history.versions", Type: ConfigLong, Default: "100000", Broker: same("sluice.table.history.versions"),
		valid: between(minHistoryVersions, math.MaxInt64),
		Doc:   "How many entries of the table's log are kept at most: some readers list them all."},
	{Name: "sluice.table.inserts", Type: ConfigString, Default: "adopt", Broker: same("sluice.table.inserts"),
		valid: oneOf("adopt", "refuse"),
		Doc:   "What becomes of rows that another writer inserts into the table (sluice.table.writers=any): \"adopt\" makes them records of the topic, with offsets behind those given out before, \"refuse\" stops the topic until they are taken out again."},
	{Name: "sluice.table.retention", Type: ConfigString, Default: "kafka", Broker: same("sluice.table.retention"),
		valid: oneOf("kafka", "forever"),
		Doc:   "Whether rows leave the table when Kafka's retention says so (\"kafka\"), or stay in it while only the log start offset moves (\"forever\")."},
	{Name: "sluice.table.target.file.bytes", Type: ConfigLong, Default: "33554432", Broker: same("sluice.table.target.file.bytes"),
		// A rewriting holds one such file in memory; beyond 256 MiB no engine reads faster.
		valid: between(oneMiB, 256*oneMiB),
		Doc:   "How large compaction makes the table's data files, in bytes (delta.targetFileSize). The broker takes about that much memory and 80 MiB more while it makes one."},
	{Name: "sluice.table.url", Type: ConfigString, ReadOnly: true,
		Doc: "Where Delta engines find the topic's table."},
	{Name: "sluice.table.version", Type: ConfigLong, ReadOnly: true,
		Doc: "The newest version of the topic's table; empty while the topic is idle and not open."},
	{Name: "sluice.table.writers", Type: ConfigString, Default: "sluice", Broker: same("sluice.table.writers"),
		valid: oneOf("sluice", "any"),
		Doc:   "Who may write the table: \"sluice\" makes every other conforming writer refuse, \"any\" lets engines that commit with conditional puts optimize and delete."},
	{Name: configYieldUntil, Type: ConfigLong, Default: "0",
		valid: atLeast(0),
		Doc:   "Until when (ms since 1970) no version is committed, so that an engine's own transaction on the table can finish: produce requests wait, at most 10 minutes. 0: not at all. 'sluice table yield' sets it."},
	{Name: "unclean.leader.election.enable", Type: ConfigBoolean, Default: "false", Broker: same("unclean.leader.election.enable"),
		Doc: "Whether a replica that lags behind may become leader; here there is none that could lag." + inert},
}

// same lists synonyms that have the unit of the topic config.
func same(names ...string) []Synonym {
	synonyms := make([]Synonym, len(names))
	for i, name := range names {
		synonyms[i].Name = name
	}
	return synonyms
}
