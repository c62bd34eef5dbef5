package storage

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/protocol/record"
)

// simKind says what happens to the topics of a name in a run, beside producing and
// consuming. What it has decides which checks can be exact.
type simKind struct {
	// compact: cleanup.policy=compact. A record may be missing if a newer one of its key
	// is known, or if it is a tombstone.
	compact bool
	// retention: records older than that may be missing from the log's start on, and are
	// in the end. 0: none are.
	retention time.Duration
	bytes     int64 // retention.bytes, or 0: the log start offset may be anywhere
	// open: engines insert and delete rows while table.writers is any, and an operator
	// deletes by key in either mode.
	open bool
	fat  bool // some values are so large that compaction makes several files
}

func newSimKind(random *rand.Rand) (k simKind) {
	switch random.IntN(4) {
	case 0, 1:
		k.compact = true
	case 2:
		if random.IntN(2) == 0 {
			k.retention = time.Duration(1+random.IntN(10)) * time.Minute
		} else {
			k.bytes = int64(1000 << random.IntN(6))
		}
	}
	k.open = k.retention == 0 && k.bytes == 0 && random.IntN(2) == 0
	k.fat = random.IntN(4) == 0
	return k
}

// keyed: records have keys.
func (k simKind) keyed() bool { return k.compact || k.open }

// dense: no record leaves but from the log's start on.
func (k simKind) dense() bool { return !k.compact && !k.open }

// fixed: the log start offset moves only where DeleteRecords was asked to.
func (k simKind) fixed() bool { return k.retention == 0 && k.bytes == 0 }

// config is the topic's configuration.
func (k simKind) config(random *rand.Rand) map[string]string {
	config := map[string]string{
		"sluice.table.history.ms": "3600000", "sluice.table.deleted.files.ms": "600000",
		"sluice.commit.interval.ms":      []string{"0", "5", "50", "-1"}[random.IntN(4)],
		"sluice.table.target.file.bytes": "1048576",
	}
	if k.compact {
		config["cleanup.policy"] = "compact"
		config["min.cleanable.dirty.ratio"] = "0"
		config["delete.retention.ms"] = "60000"
		config["segment.ms"] = []string{"1000", "30000", "300000"}[random.IntN(3)]
	}
	if k.retention > 0 {
		config["retention.ms"] = fmt.Sprint(k.retention.Milliseconds())
	}
	if k.bytes > 0 {
		config["retention.bytes"] = fmt.Sprint(k.bytes)
	}
	if k.open {
		config["sluice.table.writers"] = "any"
	}
	return config
}

// A value of the simulation names its record: "who17", "key=who17", "key!who17" for a
// tombstone, whose name is in a header. "#n" behind it asks for n bytes more.

// value makes the name of a record that nobody else sends.
func (s *simulation) value(who string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values++
	return fmt.Sprint(who, s.values)
}

// record makes the name of a record for a topic.
func (s *simulation) record(name, who string, random *rand.Rand) string {
	kind, v := s.kinds[name], s.value(who)
	if kind.fat && random.IntN(3) == 0 {
		v += fmt.Sprint("#", 1000+random.IntN(40_000))
	}
	if !kind.keyed() {
		return v
	}
	between := "="
	if random.IntN(6) == 0 {
		between = "!"
	}
	return fmt.Sprint("k", random.IntN(6), between, v)
}

// parseValue takes a value's name apart.
func parseValue(v string) (key string, tombstone bool) {
	i := strings.IndexAny(v, "=!")
	if i < 0 {
		return "", false
	}
	return v[:i], v[i] == '!'
}

const paddingMark = "~"

// padded is the bytes of a record's value. What is added cannot be compressed.
func padded(v string) []byte {
	_, size, ok := strings.Cut(v, "#")
	if !ok {
		return []byte(v)
	}
	n, _ := strconv.Atoi(size)
	b := append([]byte(v), paddingMark...)
	random := rand.New(rand.NewPCG(uint64(n), uint64(len(v))))
	for range n {
		b = append(b, byte(random.Uint32()))
	}
	return b
}

// simProduced is a batch of the simulation's records.
func simProduced(producer *record.Producer, values ...string) []byte {
	var b record.Builder
	b.Reset(nil, record.Params{Producer: producer})
	now := time.Now().UnixMilli()
	for i, v := range values {
		key, tombstone := parseValue(v)
		var k []byte
		if key != "" {
			k = []byte(key)
		}
		if tombstone {
			b.Append(int64(i), now, k, nil, record.Headers{}.Append([]byte("name"), []byte(v)))
		} else {
			b.Append(int64(i), now, k, padded(v), record.Headers{})
		}
	}
	return b.Finish()
}

// nameOf is the value of a record, or what stands for it in a tombstone or a long one.
func nameOf(t *testing.T, r *record.Record) string {
	if r.Value == nil {
		it := r.Headers.All()
		if !it.Next() {
			return fmt.Sprintf("a tombstone of %q without its name", r.Key)
		}
		return string(it.Header().Value)
	}
	if len(r.Value) == 0 {
		return fmt.Sprintf("an empty value of %q, %d headers", r.Key, r.Headers.Len())
	}
	v, _, long := strings.Cut(string(r.Value), paddingMark)
	if long && string(padded(v)) != string(r.Value) {
		t.Errorf("the %d bytes of %s are not as they were", len(r.Value), v)
	}
	return v
}
