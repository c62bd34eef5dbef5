package check

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// state is a table as of a version.
type state struct {
	version  int64
	protocol protocol
	metadata metadata
	txns     map[string]int64
	files    map[string]liveFile // by name
	// tombstones are the deletion timestamps (ms) of the files that have left, by name.
	tombstones map[string]tombstone
}

// liveFile is what the log says of a data file that is in the table.
type liveFile struct {
	path     string
	size     int64
	modified int64
	stats    string
	tags     map[string]string
}

type tombstone struct {
	path    string
	deleted int64
}

func newState() *state {
	return &state{version: -1, txns: map[string]int64{}, files: map[string]liveFile{}, tombstones: map[string]tombstone{}}
}

// partitions is the topic's number of partitions; 0 if the table does not tell.
func (s *state) partitions() int32 {
	n, err := strconv.ParseInt(s.metadata.Configuration["sluice.partitions"], 10, 32)
	if err != nil || n < 1 {
		return 0
	}
	return int32(n)
}

// compacted reports whether only the latest record of each key has to be there.
func (s *state) compacted() bool {
	return strings.Contains(s.metadata.Configuration["sluice.cleanup.policy"], "compact")
}

const (
	nextOffsetPrefix = "sluice.next_offset/"
	logStartPrefix   = "sluice.log_start/"
	epochApp         = "sluice.leader_epoch"
)

// next is the next offset of a partition, of the topic that the table is now.
func (s *state) next(partition int32) int64 {
	return s.txns[nextOffsetPrefix+s.metadata.ID+"/"+strconv.Itoa(int(partition))]
}

func (s *state) logStart(partition int32) int64 {
	return s.txns[logStartPrefix+s.metadata.ID+"/"+strconv.Itoa(int(partition))]
}

// topicTxn takes the appId of a topic's txn action apart.
func topicTxn(app, prefix string) (id string, partition int32, ok bool) {
	rest, ok := strings.CutPrefix(app, prefix)
	if !ok {
		return "", 0, false
	}
	id, number, ok := strings.Cut(rest, "/")
	n, err := strconv.ParseInt(number, 10, 32)
	return id, int32(n), ok && err == nil && n >= 0
}

// gone reports whether nobody was promised the file of a tombstone any more: it
// was of a topic that is deleted, or of one that was there before.
func (s *state) gone(t tombstone) bool {
	return s.metadata.deleted() || s.metadata.CreatedTime > 0 && t.deleted <= s.metadata.CreatedTime
}

// differ compares what a checkpoint says with the replay of the entries, and
// returns what differs, a few of each kind.
func differ(replayed, checkpoint *state) (differences []string) {
	say := func(what string) { differences = append(differences, what) }
	if !equalProtocols(replayed.protocol, checkpoint.protocol) {
		say("protocol")
	}
	if !equalMetadata(replayed.metadata, checkpoint.metadata) {
		say("metaData")
	}
	for _, app := range keysOfBoth(replayed.txns, checkpoint.txns) {
		a, ok1 := replayed.txns[app]
		b, ok2 := checkpoint.txns[app]
		if ok1 != ok2 || a != b {
			say("txn " + app)
		}
	}
	for _, name := range keysOfBoth(replayed.files, checkpoint.files) {
		a, ok1 := replayed.files[name]
		b, ok2 := checkpoint.files[name]
		switch {
		case !ok2:
			say("file " + name + " is missing")
		case !ok1:
			say("file " + name + " is not in the table")
		case a.size != b.size:
			say("size of " + name)
		case !maps.Equal(a.tags, b.tags):
			say("tags of " + name)
		case b.stats != "" && !equalJSON(a.stats, b.stats):
			say("statistics of " + name)
		}
		if t, ok := checkpoint.tombstones[name]; ok && ok2 {
			say("file " + t.path + " is live and removed")
		}
	}
	return differences
}

func keysOfBoth[V any](a, b map[string]V) []string {
	keys := slices.Collect(maps.Keys(a))
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func equalProtocols(a, b protocol) bool {
	return a.MinReaderVersion == b.MinReaderVersion && a.MinWriterVersion == b.MinWriterVersion &&
		slices.Equal(slices.Sorted(slices.Values(a.WriterFeatures)), slices.Sorted(slices.Values(b.WriterFeatures))) &&
		slices.Equal(slices.Sorted(slices.Values(a.ReaderFeatures)), slices.Sorted(slices.Values(b.ReaderFeatures)))
}

func equalMetadata(a, b metadata) bool {
	return a.ID == b.ID && a.Name == b.Name && equalJSON(a.SchemaString, b.SchemaString) &&
		slices.Equal(a.PartitionColumns, b.PartitionColumns) && maps.Equal(a.Configuration, b.Configuration) &&
		cmp.Compare(a.CreatedTime, b.CreatedTime) == 0
}

// equalJSON compares two documents by what they say.
func equalJSON(a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	one, _ := json.Marshal(x)
	other, _ := json.Marshal(y)
	return string(one) == string(other)
}
