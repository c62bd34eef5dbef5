package broker

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shapes are the bodies of all requests that are served, from Kafka's message
// definitions (clients/src/main/resources/common/message). A test compares them
// with what kmsg writes, in all versions.
var shapes = map[kmsg.Key]*shape{
	kmsg.Produce:                 parseShape(9, "3+:s 2 4 [-12:s 13+:16 [4 b]]"),
	kmsg.Fetch:                   parseShape(12, "t0:s -14:4 t1:{4 8} 4 4 3+:4 4+:1 7+:4 7+:4 [-12:s 13+:16 [4 9+:4 8 12+:4 5+:8 4 t0:16 t1:8]] 7+:[-12:s 13+:16 *4] 11+:s"),
	kmsg.ListOffsets:             parseShape(6, "4 2+:1 [s [4 4+:4 8 -0:4]] 10+:4"),
	kmsg.Metadata:                parseShape(9, "[10+:16 s] 4+:1 8-10:1 8+:1"),
	kmsg.OffsetCommit:            parseShape(8, "s 1+:4 1+:s 7+:s 2-4:8 [-9:s 10+:16 [4 8 1-1:8 6+:4 s]]"),
	kmsg.OffsetFetch:             parseShape(6, "-7:s -7:[s *4] 8+:[s 9+:s 9+:4 [-9:s 10+:16 *4]] 7+:1"),
	kmsg.FindCoordinator:         parseShape(3, "-3:s 1+:1 4+:*s"),
	kmsg.JoinGroup:               parseShape(6, "s 4 1+:4 s 5+:s s [s b] 8+:s"),
	kmsg.Heartbeat:               parseShape(4, "s 4 s 3+:s"),
	kmsg.LeaveGroup:              parseShape(4, "s -2:s 3+:[s s 5+:s]"),
	kmsg.SyncGroup:               parseShape(4, "s 4 s 3+:s 5+:s 5+:s [s b]"),
	kmsg.DescribeGroups:          parseShape(5, "*s 3+:1"),
	kmsg.ListGroups:              parseShape(3, "4+:*s 5+:*s"),
	kmsg.ApiVersions:             parseShape(3, "3+:s 3+:s 5+:s 5+:4"),
	kmsg.CreateTopics:            parseShape(5, "[s 4 2 [4 *4] [s s]] 4 1+:1"),
	kmsg.DeleteTopics:            parseShape(4, "-5:*s 6+:[s 16] 4"),
	kmsg.DeleteRecords:           parseShape(2, "[s [4 8]] 4"),
	kmsg.InitProducerID:          parseShape(2, "s 4 3+:8 3+:2"),
	kmsg.OffsetForLeaderEpoch:    parseShape(4, "3+:4 [s [4 2+:4 4]]"),
	kmsg.DescribeConfigs:         parseShape(4, "[1 s *s] 1+:1 3+:1"),
	kmsg.AlterConfigs:            parseShape(2, "[1 s [s s]] 1"),
	kmsg.DescribeLogDirs:         parseShape(2, "[s *4]"),
	kmsg.CreatePartitions:        parseShape(2, "[s 4 [*4]] 4 1"),
	kmsg.DeleteGroups:            parseShape(2, "*s"),
	kmsg.IncrementalAlterConfigs: parseShape(1, "[1 s [s 1 s]] 1"),
	kmsg.OffsetDelete:            parseShape(-1, "s [s [4]]"),
	kmsg.DescribeCluster:         parseShape(0, "1 1+:1 2+:1"),
	kmsg.DescribeTopicPartitions: parseShape(0, "[s] 4 ?{s 4}"),
}

// parseShape reads the notation. The texts are constants above: an error in one is
// a bug that shows at once, hence the panic.
func parseShape(flexible int16, text string) *shape {
	fields, rest := parseFields(text)
	if rest != "" {
		panic("shape: " + text)
	}
	return &shape{flexible: flexible, fields: fields}
}

// parseFields reads fields up to the end of the text or a closing bracket.
func parseFields(text string) (fields []field, rest string) {
	for {
		text = strings.TrimLeft(text, " ")
		if text == "" || text[0] == ']' || text[0] == '}' {
			return fields, text
		}
		var f field
		f, text = parseField(text)
		fields = append(fields, f)
	}
}

func parseField(text string) (field, string) {
	f := field{max: newest, tag: -1}
	end := strings.IndexAny(text, " []{}")
	if colon := strings.IndexByte(text, ':'); colon >= 0 && (end < 0 || colon < end) {
		f.versions(text[:colon])
		text = text[colon+1:]
	}
	switch text[0] {
	case 's', 'b':
		f.kind = text[0]
		return f, text[1:]
	case '*':
		element, rest := parseField(text[1:])
		f.kind, f.fields = '*', []field{element}
		return f, rest
	case '?':
		inner, rest := parseField(text[1:])
		f.kind, f.fields = '?', inner.fields
		return f, rest
	case '[', '{':
		f.kind = text[0]
		f.fields, text = parseFields(text[1:])
		return f, text[1:]
	}
	digits := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(text)
	}
	f.kind, f.size = '1', number(text[:digits])
	return f, text[digits:]
}

// versions reads what stands before the colon of a field: "3+", "2-4", "-4", "t1".
func (f *field) versions(text string) {
	if tag, ok := strings.CutPrefix(text, "t"); ok {
		f.tag = int32(number(tag))
		return
	}
	if from, ok := strings.CutSuffix(text, "+"); ok {
		f.min = int16(number(from))
		return
	}
	from, to, _ := strings.Cut(text, "-")
	if from != "" {
		f.min = int16(number(from))
	}
	f.max = int16(number(to))
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(fmt.Sprintf("shape: %q is not a number", text))
	}
	return n
}
