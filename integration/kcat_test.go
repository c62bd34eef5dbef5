//go:build integration

package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// kcatFormat prints a record as parseKcat reads it; -1 for the length of null.
const kcatFormat = `record\t%p\t%o\t%T\t%K\t%k\t%S\t%s\t%h\n`

// kcatAssigned is what kcat says on standard error after a rebalance.
var kcatAssigned = regexp.MustCompile(`rebalanced .*assigned: (.*)$`)

// kcat is librdkafka 2.0 of 2022 as Debian has it: an old client, whose feature
// checks look at the exact API versions that a broker advertises. It makes the
// topic by asking for it.
func TestKcatReadsBackWhatItWroteInAGroupOfTwo(t *testing.T) { kcatReadsBack(t, directory(t)) }

func kcatReadsBack(t *testing.T, s store) {
	path := kcat(t)
	b := startSluice(t, s, "--config", "num.partitions="+strconv.Itoa(partitions))
	const topic, group = "from-kcat", "group-of-kcat"
	if code := start(t, "kcat -L", nil, path, "-b", b.address, "-X", "allow.auto.create.topics=true", "-L", "-t", topic).
		wait(clientTimeout); code != 0 {
		t.Fatalf("kcat can not list the topic: exit code %d", code)
	}

	two := kcatMembers(t, b, path, topic, group)
	two.balance(t, partitions)
	var written []record
	for _, codec := range allCodecs {
		written = append(written, kcatProduce(t, b, path, topic, codec, 40)...)
	}
	got := two.read(t, len(written))
	requireOnePartitionEach(t, two)
	requireContent(t, written, got)
	for _, codec := range allCodecs {
		requireCodec(t, b, topic, codec, slices.DeleteFunc(slices.Clone(got), func(r record) bool {
			return string(r.headers[0].value) != codec
		}))
	}
	requireDense(t, index(t, got))
	leaveKcat(two)
	requireCommitted(t, b, topic, group, index(t, got))

	more := kcatProduce(t, b, path, topic, "lz4", 40)
	two = kcatMembers(t, b, path, topic, group)
	two.balance(t, partitions)
	again := two.read(t, len(more))
	leaveKcat(two)
	requireContent(t, more, again)
	requireDense(t, index(t, append(got, again...)))
	requireCommitted(t, b, topic, group, index(t, append(got, again...)))
}

// kcatProduce writes n records and returns them without the offsets, which kcat
// does not tell.
func kcatProduce(t *testing.T, b *sluice, path, topic, codec string, n int) []record {
	t.Helper()
	p := start(t, "kcat -P", nil, path, "-b", b.address, "-P", "-t", topic, "-z", codec,
		"-X", "enable.idempotence=true", "-X", "linger.ms=20", "-K", "|", "-Z", "-H", "codec="+codec)
	var records []record
	for i := range n {
		r := record{headers: []header{{"codec", []byte(codec)}}}
		if i%3 != 0 { // -Z: an empty one is null
			r.key = fmt.Appendf(nil, "%s-%d", codec, i)
		}
		if i%5 != 0 || i%3 == 0 {
			r.value = []byte(strings.Repeat(fmt.Sprintf("%s %d, ", codec, i), 40))
		}
		fmt.Fprintf(p.in, "%s|%s\n", r.key, r.value)
		records = append(records, r)
	}
	p.in.Close()
	if code := p.wait(clientTimeout); code != 0 {
		t.Fatalf("kcat can not produce with %s: exit code %d", codec, code)
	}
	if said := p.err.String(); strings.Contains(said, "not compressing") || strings.Contains(said, "ERROR") {
		t.Fatalf("kcat with %s: %s", codec, said)
	}
	return records
}

// requireContent compares records but for their places and timestamps.
func requireContent(t *testing.T, want, got []record) {
	t.Helper()
	content := func(records []record) []string {
		lines := make([]string, len(records))
		for i, r := range records {
			r.partition, r.offset, r.timestamp = 0, 0, 0
			lines[i] = r.line()
		}
		slices.Sort(lines)
		return lines
	}
	w, g := content(want), content(got)
	if !slices.Equal(w, g) {
		t.Fatalf("read %d records, written %d, and they differ", len(g), len(w))
	}
}

func kcatMembers(t *testing.T, b *sluice, path, topic, group string) members {
	t.Helper()
	var ms members
	for i := range 2 {
		p := start(t, fmt.Sprintf("kcat -G %d", i), nil, path, "-b", b.address, "-u", "-f", kcatFormat,
			"-X", "auto.offset.reset=earliest", "-G", group, topic)
		ms = append(ms, &member{process: p, parse: parseKcat, asides: p.err})
	}
	return ms
}

// leaveKcat interrupts the members, as a person does.
func leaveKcat(ms members) {
	for _, m := range ms {
		m.terminate()
		m.wait(clientTimeout)
	}
}

func parseKcat(line string) (*record, []int32, error) {
	if found := kcatAssigned.FindStringSubmatch(line); found != nil {
		assigned := []int32{}
		for _, place := range strings.Split(found[1], ", ") { // topic [0], topic [1]
			var p int32
			if _, err := fmt.Sscanf(place[strings.IndexByte(place, '[')+1:], "%d]", &p); err != nil {
				return nil, nil, fmt.Errorf("%q: %w", line, err)
			}
			assigned = append(assigned, p)
		}
		return nil, assigned, nil
	}
	f := strings.Split(line, "\t")
	if f[0] != "record" {
		return nil, nil, nil
	}
	if len(f) != 9 {
		return nil, nil, fmt.Errorf("%d fields in %q", len(f), line)
	}
	text := func(length, field string) string {
		if length == "-1" {
			return "-"
		}
		return encode([]byte(field))
	}
	name, value, _ := strings.Cut(f[8], "=")
	r, err := parseRecord(strings.Join([]string{f[1], f[2], f[3], text(f[4], f[5]), text(f[6], f[7]),
		name + "=" + encode([]byte(value))}, "\t"))
	return &r, nil, err
}
