package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// position is a place in a partition as a user names it.
type position struct {
	kind positionKind
	n    int64 // the offset, ms since 1970 or table version
}

type positionKind int

const (
	atEarliest positionKind = iota
	atLatest
	atOffset
	atTime    // the first record that is not older
	atVersion // what the topic's Delta table held at a version
)

// versionTimestamp is the timestamp by which Sluice's ListOffsets answers the
// offset at a version of the topic's table: versionTimestamp - version. Kafka's
// own special timestamps are -1 to -6; others that are negative mean nothing.
const versionTimestamp = -1000

// parsePosition reads earliest, latest, an offset, or a time: RFC 3339, a date,
// or @ and milliseconds since 1970. A bare number is always an offset.
func parsePosition(s string) (position, error) {
	switch strings.ToLower(s) {
	case "earliest", "start", "beginning":
		return position{kind: atEarliest}, nil
	case "latest", "end":
		return position{kind: atLatest}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return position{atOffset, n}, nil
	}
	if ms, ok := strings.CutPrefix(s, "@"); ok {
		if n, err := strconv.ParseInt(ms, 10, 64); err == nil && n >= 0 {
			return position{atTime, n}, nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, time.DateOnly} {
		// A time without a zone is the user's own.
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil && t.UnixMilli() >= 0 {
			return position{atTime, t.UnixMilli()}, nil
		}
	}
	return position{}, usagef("%q is no position: want earliest, latest, an offset such as 42, "+
		"a time such as 2026-01-31T12:00:00Z, or @ and milliseconds since 1970", s)
}

// timestamp is what ListOffsets asks with. Not for atOffset, which needs no asking.
func (p position) timestamp() int64 {
	switch p.kind {
	case atEarliest:
		return -2
	case atTime:
		return p.n
	case atVersion:
		return versionTimestamp - p.n
	default:
		return -1
	}
}

// topicPartitions is a topic and some of its partitions, nil for all.
type topicPartitions struct {
	topic      string
	partitions []int32
}

// parseTopicPartitions reads "orders" or "orders:0,2".
func parseTopicPartitions(s string) (topicPartitions, error) {
	topic, list, some := strings.Cut(s, ":")
	tp := topicPartitions{topic: topic}
	if topic == "" {
		return tp, usagef("%q names no topic: want TOPIC or TOPIC:0,2", s)
	}
	if !some {
		return tp, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 32)
		if err != nil || n < 0 {
			return tp, usageError{fmt.Errorf("%q: %q is no partition: want TOPIC or TOPIC:0,2", s, part)}
		}
		tp.partitions = append(tp.partitions, int32(n))
	}
	return tp, nil
}
