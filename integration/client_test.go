//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clientTimeout bounds what a client does in one go, start of a JVM or Python on a
// busy machine included.
const clientTimeout = 3 * time.Minute

// client is a Kafka client in a language of its own, driven as clients/README.md
// says.
type client struct {
	name, version string
	// core clients go through the script wherever the integration tests run, others
	// where the whole card is made.
	core    bool
	command func(t *testing.T) (env, command []string)
	// plain takes out of a record what the client can not tell or send, and leavesOut
	// says what that is and where it comes from: sample goes through it.
	plain     func(r *record)
	leavesOut string
	// lacks are checks that the client has nothing for, or fails by its own fault,
	// and why.
	lacks map[string]string
}

// start starts the client's program.
func (c client) start(t *testing.T, args ...string) *process {
	t.Helper()
	env, command := c.command(t)
	return start(t, c.name+" "+c.version+" "+args[0], env, append(command, args...)...)
}

// create makes a topic.
func (c client) create(t *testing.T, b *sluice, topic string, partitions int) {
	t.Helper()
	p := c.start(t, "create", b.address, topic, strconv.Itoa(partitions))
	if code := p.wait(clientTimeout); code != 0 {
		t.Fatalf("%s can not create a topic: exit code %d: %s", c.name, code, p.complaint())
	}
}

// sample is what this client can write of sample.
func (c client) sample(tag string, n int, partitions int32) []record {
	records := sample(tag, n, partitions)
	if c.plain != nil {
		for i := range records {
			c.plain(&records[i])
		}
	}
	return records
}

// complaint is what a program that failed said of it: the last line on standard
// error that names an error, else the last one.
func (p *process) complaint() string {
	all := p.err.sofar()
	for _, line := range slices.Backward(all) {
		if strings.Contains(line, "rror") || strings.Contains(line, "xception") {
			return strings.TrimSpace(line)
		}
	}
	return p.err.tail(1)
}

// produce writes records and returns them as they were acked: with partitions and
// offsets, in the order written.
func (c client) produce(t *testing.T, b *sluice, topic, codec string, records []record) []record {
	t.Helper()
	p := c.start(t, "produce", b.address, topic, codec)
	for _, r := range records {
		fmt.Fprintln(p.in, r.line())
	}
	p.in.Close()
	if code := p.wait(clientTimeout); code != 0 {
		t.Fatalf("%s can not produce with %s: exit code %d: %s", c.name, codec, code, p.complaint())
	}
	acked := slices.Clone(records)
	count := 0
	scanLines(p.out.String(), func(line []byte) {
		var i int
		var at id
		if _, err := fmt.Sscanf(string(line), "acked\t%d\t%d\t%d", &i, &at.partition, &at.offset); err != nil {
			t.Fatalf("%s: %q: %v", c.name, line, err)
		}
		if want := records[i].partition; want != anyPartition && want != at.partition {
			t.Fatalf("%s: record %d for partition %d went to %d", c.name, i, want, at.partition)
		}
		acked[i].partition, acked[i].offset = at.partition, at.offset
		count++
	})
	if count != len(records) {
		t.Fatalf("%s: %d of %d records were acked", c.name, count, len(records))
	}
	requireInOrder(t, c.name, acked)
	return acked
}

// requireInOrder checks that records that one producer wrote to a partition have
// rising offsets.
func requireInOrder(t *testing.T, who string, records []record) {
	t.Helper()
	last := map[int32]int64{}
	for _, r := range records {
		if before, ok := last[r.partition]; ok && r.offset <= before {
			t.Fatalf("%s: partition %d: offset %d after %d", who, r.partition, r.offset, before)
		}
		last[r.partition] = r.offset
	}
}

// read has the client read count records without a group: earliest, offset=N or
// timestamp=MS in each partition.
func (c client) read(t *testing.T, b *sluice, topic string, count int, from string) []record {
	t.Helper()
	p := c.start(t, "read", b.address, topic, strconv.Itoa(count), from)
	if code := p.wait(clientTimeout); code != 0 {
		t.Fatalf("%s can not read from %s: exit code %d: %s", c.name, from, code, p.complaint())
	}
	m := &member{process: p, parse: parseConsumed}
	records, _ := m.told()
	return records
}

// consume starts a member of a group.
func (c client) consume(t *testing.T, b *sluice, topic, group string) *member {
	t.Helper()
	return &member{process: c.start(t, "consume", b.address, topic, group), parse: parseConsumed}
}

// member is a running consumer in a group.
type member struct {
	*process
	// parse reads a line of the program: a record, or the partitions it has now.
	parse func(line string) (r *record, assigned []int32, err error)
	// asides is where the program tells of partitions, if not beside the records.
	asides *lines
}

func parseConsumed(line string) (*record, []int32, error) {
	kind, rest, _ := strings.Cut(line, "\t")
	switch kind {
	case "record":
		r, err := parseRecord(rest)
		return &r, nil, err
	case "assigned":
		partitions := []int32{}
		for _, field := range strings.Split(rest, ",") {
			if field == "" {
				continue
			}
			p, err := strconv.ParseInt(field, 10, 32)
			if err != nil {
				return nil, nil, err
			}
			partitions = append(partitions, int32(p))
		}
		return nil, partitions, nil
	}
	return nil, nil, nil // something for people
}

// told is what the member has printed so far.
func (m *member) told() (records []record, assigned []int32) {
	m.t.Helper()
	all := m.out.sofar()
	if m.asides != nil {
		all = append(slices.Clone(all), m.asides.sofar()...)
	}
	for _, line := range all {
		r, partitions, err := m.parse(line)
		switch {
		case err != nil:
			m.t.Fatalf("%s: %v", m.name, err)
		case r != nil:
			records = append(records, *r)
		case partitions != nil:
			assigned = partitions
		}
	}
	requireInOrder(m.t, m.name, records)
	return records, assigned
}

// leave ends the member as its client does: it commits and leaves the group.
func (m *member) leave() {
	m.t.Helper()
	fmt.Fprintln(m.in)
	m.in.Close()
	if code := m.wait(clientTimeout); code != 0 {
		m.t.Fatalf("%s ended with exit code %d", m.name, code)
	}
}

// members is a group.
type members []*member

// use has what goes wrong with the members from now on fail this test, though
// they run longer than it.
func (ms members) use(t *testing.T) {
	for _, m := range ms {
		m.t = t
	}
}

// balance waits until the members share all partitions among them.
func (ms members) balance(t *testing.T, partitions int) {
	t.Helper()
	ms.until(t, "the members do not share the partitions", func() bool {
		owned := map[int32]int{}
		for _, m := range ms {
			_, assigned := m.told()
			if len(assigned) == 0 {
				return false
			}
			for _, p := range assigned {
				owned[p]++
			}
		}
		for _, owners := range owned {
			if owners != 1 {
				return false
			}
		}
		return len(owned) == partitions
	})
}

// read waits until the members have read n records, and returns all that they have
// by then.
func (ms members) read(t *testing.T, n int) []record {
	t.Helper()
	var all []record
	ms.until(t, fmt.Sprintf("the members have not read %d records", n), func() bool {
		all = nil
		for _, m := range ms {
			records, _ := m.told()
			all = append(all, records...)
		}
		return len(all) >= n
	})
	return all
}

func (ms members) until(t *testing.T, otherwise string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(clientTimeout); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, m := range ms {
				records, assigned := m.told()
				t.Logf("%s: %d records, partitions %v", m.name, len(records), assigned)
			}
			t.Fatal(otherwise)
		}
		for _, m := range ms {
			select {
			case <-m.ended:
				t.Fatalf("%s has ended by itself", m.name)
			default:
			}
		}
	}
}

func (ms members) leave() {
	for _, m := range ms {
		m.leave()
	}
}
