//go:build integration

package integration

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// noTimestamp is Kafka's for records without one.
const noTimestamp = -1

// record is a Kafka record as clients and engines must all tell it.
type record struct {
	partition  int32 // anyPartition: the client chooses
	offset     int64
	timestamp  int64  // ms, or noTimestamp
	key, value []byte // nil is null, which is not empty
	headers    []header
}

type header struct {
	name  string
	value []byte // nil is null
}

const anyPartition = -1

// id is where a record is in a topic.
type id struct {
	partition int32
	offset    int64
}

func (r record) id() id { return id{r.partition, r.offset} }

// line is the record as clients read and print it (clients/README.md).
func (r record) line() string {
	partition := "-"
	if r.partition != anyPartition {
		partition = strconv.Itoa(int(r.partition))
	}
	var headers []string
	for _, h := range r.headers {
		headers = append(headers, h.name+"="+encode(h.value))
	}
	return fmt.Sprintf("%s\t%d\t%d\t%s\t%s\t%s", partition, r.offset, r.timestamp,
		encode(r.key), encode(r.value), strings.Join(headers, ","))
}

func parseRecord(line string) (record, error) {
	f := strings.Split(line, "\t")
	if len(f) != 6 {
		return record{}, fmt.Errorf("%d fields in %q", len(f), line)
	}
	var r record
	partition, err := strconv.ParseInt(f[0], 10, 32)
	if err != nil {
		return record{}, err
	}
	r.partition = int32(partition)
	if r.offset, err = strconv.ParseInt(f[1], 10, 64); err != nil {
		return record{}, err
	}
	if r.timestamp, err = strconv.ParseInt(f[2], 10, 64); err != nil {
		return record{}, err
	}
	if r.key, err = decode(f[3]); err != nil {
		return record{}, err
	}
	if r.value, err = decode(f[4]); err != nil {
		return record{}, err
	}
	if f[5] == "" {
		return r, nil
	}
	for _, pair := range strings.Split(f[5], ",") {
		name, field, _ := strings.Cut(pair, "=")
		value, err := decode(field)
		if err != nil {
			return record{}, err
		}
		r.headers = append(r.headers, header{name, value})
	}
	return r, nil
}

func encode(b []byte) string {
	if b == nil {
		return "-"
	}
	return base64.StdEncoding.EncodeToString(b)
}

func decode(field string) ([]byte, error) {
	if field == "-" {
		return nil, nil
	}
	return base64.StdEncoding.DecodeString(field) // empty, not nil, for ""
}

func (r record) String() string {
	headers := make([]string, len(r.headers))
	for i, h := range r.headers {
		headers[i] = fmt.Sprintf("%s=%.16s", h.name, encode(h.value))
	}
	return fmt.Sprintf("%d/%d at %d key %.40s value %.40s headers %v", r.partition, r.offset, r.timestamp,
		encode(r.key), encode(r.value), headers)
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// same tells whether a reader told the record that was written.
func (r record) same(s record) bool {
	return r.id() == s.id() && r.timestamp == s.timestamp && sameBytes(r.key, s.key) && sameBytes(r.value, s.value) &&
		slices.EqualFunc(r.headers, s.headers, func(a, b header) bool {
			return a.name == b.name && sameBytes(a.value, b.value)
		})
}

// requireSame compares what was written with what a reader found.
func requireSame(t *testing.T, reader string, want map[id]record, got []record) {
	t.Helper()
	seen := make(map[id]bool, len(got))
	wrong := 0
	complain := func(format string, args ...any) {
		t.Helper()
		if wrong++; wrong <= 5 {
			t.Errorf(reader+": "+format, args...)
		}
	}
	for _, r := range got {
		w, ok := want[r.id()]
		switch {
		case !ok:
			complain("read %v, which nobody wrote", r)
		case seen[r.id()]:
			complain("read %d/%d twice", r.partition, r.offset)
		case !r.same(w):
			complain("read %v, written %v", r, w)
		}
		seen[r.id()] = true
	}
	for _, key := range slices.SortedFunc(maps.Keys(want), func(a, b id) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		return int(a.offset - b.offset)
	}) {
		if !seen[key] {
			complain("%d/%d is missing", key.partition, key.offset)
		}
	}
	if wrong > 0 {
		t.Fatalf("%s: %d differences in %d records", reader, wrong, len(want))
	}
}

// requireDense checks that the offsets of each partition are 0, 1, 2, ...
func requireDense(t *testing.T, records map[id]record) {
	t.Helper()
	count := map[int32]int64{}
	for key := range records {
		count[key.partition]++
	}
	for key := range records {
		if key.offset < 0 || key.offset >= count[key.partition] {
			t.Fatalf("partition %d has %d records and offset %d", key.partition, count[key.partition], key.offset)
		}
	}
}

// index is records by their place.
func index(t *testing.T, records []record) map[id]record {
	t.Helper()
	m := make(map[id]record, len(records))
	for _, r := range records {
		if _, ok := m[r.id()]; ok {
			t.Fatalf("%d/%d was acked twice", r.partition, r.offset)
		}
		m[r.id()] = r
	}
	return m
}

// sample is n records with all that a record can be: null, empty, binary and long
// keys and values, no headers and headers with doubled names, empty and null
// values, timestamps that are not in order. Tag tells samples apart.
func sample(tag string, n int, partitions int32) []record {
	var binary []byte
	for i := range 256 {
		binary = append(binary, byte(i))
	}
	now := time.Now().UnixMilli()
	records := make([]record, n)
	for i := range records {
		r := &records[i]
		r.timestamp = now - int64(i%7)*1000
		r.partition = int32(i) % partitions
		switch i % 5 {
		case 0: // no key
		case 1:
			r.key = []byte{}
		case 2:
			r.key = binary
		default:
			r.key = fmt.Appendf(nil, "%s-%d", tag, i)
		}
		switch i % 7 {
		case 0: // a tombstone
		case 1:
			r.value = []byte{}
		case 2:
			r.value = binary
		default:
			r.value = bytes.Repeat(fmt.Appendf(nil, "%s %d, ", tag, i), 50)
		}
		switch i % 4 {
		case 1:
			r.headers = []header{{"trace", []byte(tag)}}
		case 2:
			r.headers = []header{{"empty", []byte{}}, {"null", nil}, {"binary", binary}}
		case 3:
			r.headers = []header{{"again", []byte("1")}, {"other", []byte("2")}, {"again", []byte("3")}}
		}
	}
	return records
}
