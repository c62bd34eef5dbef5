package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"sluice/storage/object/mem"
)

// running is a broker of this test, and its end.
type running struct {
	t       *testing.T
	address string
	stop    context.CancelFunc
	exit    chan int
	log     *strings.Builder // valid after end
}

// start runs `sluice serve` on a directory until its banner names the address.
func start(t *testing.T, store string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &running{t: t, stop: cancel, exit: make(chan int, 1), log: &strings.Builder{}}
	stdout, banner := io.Pipe()
	go func() {
		args := append([]string{"serve", "--store", store, "--listeners", "PLAINTEXT://127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)
		code := run(ctx, args, strings.NewReader(""), banner, b.log)
		banner.Close()
		b.exit <- code
	}()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "  kafka  "); ok {
			b.address = address
			go io.Copy(io.Discard, stdout)
			return b
		}
	}
	t.Fatalf("exit code %d before it served: %s", <-b.exit, b.log)
	return nil
}

// memory is a store in memory that ends with the test.
func memory(t *testing.T) string {
	t.Cleanup(func() { mem.Drop(t.Name()) })
	return "mem://" + t.Name()
}

// end stops the broker as Ctrl-C does.
func (b *running) end() {
	b.t.Helper()
	b.stop()
	if code := <-b.exit; code != exitOK {
		b.t.Errorf("exit code %d: %s", code, b.log)
	}
}

// ok runs a client against the broker; it must succeed.
func (b *running) ok(stdin string, args ...string) string {
	b.t.Helper()
	code, stdout, stderr := command(b.t, stdin, append(args, "--brokers", b.address)...)
	if code != exitOK {
		b.t.Fatalf("sluice %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// fails runs a client that must not succeed, and answers its errors.
func (b *running) fails(args ...string) string {
	b.t.Helper()
	code, _, stderr := command(b.t, "", append(args, "--brokers", b.address)...)
	if code != exitFailure {
		b.t.Errorf("sluice %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stderr
}

func fields(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestFirstMinutesOfAUser(t *testing.T) {
	store := filepath.Join(t.TempDir(), "data")
	b := start(t, store)

	// Nothing has to be set up before the first record.
	b.ok("", "produce", "hello", "first record", "second", "-q")
	if got := b.ok("", "consume", "hello", "--count", "2"); got != "first record\nsecond\n" {
		t.Errorf("consume: %q", got)
	}
	if got := b.ok("", "table", "sql", "hello"); !strings.Contains(got, "delta_scan('file://"+store+"/hello')") {
		t.Errorf("table sql: %s", got)
	}

	b.ok("", "topic", "create", "orders", "--partitions", "2", "--config", "retention.ms=3600000")
	b.ok("a:1\nb:2\nc:3", "produce", "orders", "--key-separator", ":", "--compression", "zstd", "-q")
	if got := fields(b.ok("", "topic", "list")); !strings.Contains(got, "hello 1 ") || !strings.Contains(got, "orders 2 ") {
		t.Errorf("topic list: %s", got)
	}
	got := b.ok("", "topic", "describe", "orders")
	for _, want := range []string{"table    file://" + store + "/orders", "retention.ms=3600000", "PARTITION  LEADER"} {
		if !strings.Contains(got, want) {
			t.Errorf("topic describe lacks %q:\n%s", want, got)
		}
	}

	// What one topic holds is copied to another without loss.
	lines := b.ok("", "consume", "orders", "--follow=false", "--json")
	if strings.Count(lines, "\n") != 3 {
		t.Fatalf("consume --json: %s", lines)
	}
	b.ok(lines, "produce", "copy", "--json", "-q", "--partition", "0")
	if got := b.ok("", "consume", "copy", "--follow=false", "--key-separator", "="); strings.Count(got, "=") != 3 {
		t.Errorf("copy: %s", got)
	}
	b.end()

	// A broker is disposable: the next one has it all.
	b = start(t, store)
	defer b.end()
	if got := b.ok("", "consume", "hello", "--follow=false"); got != "first record\nsecond\n" {
		t.Errorf("after a restart: %q", got)
	}
	b.ok("", "topic", "delete", "orders")
	if got := b.fails("consume", "orders"); !strings.Contains(got, "topic orders does not exist") {
		t.Errorf("consume of a deleted topic: %s", got)
	}
}

func TestGroupsAreShownAndResetToAnyPosition(t *testing.T) {
	b := start(t, memory(t))
	defer b.end()
	committed := func() (offset, lag int64, version *int64) {
		t.Helper()
		var groups []groupDescription
		if err := json.Unmarshal([]byte(b.ok("", "group", "describe", "g", "--json")), &groups); err != nil {
			t.Fatal(err)
		}
		p := groups[0].Partitions[0]
		return p.Committed, *p.Lag, p.TableVersion
	}

	b.ok("", "topic", "create", "orders")
	b.ok("", "produce", "orders", "1", "2", "3", "-q")
	var before []topicDescription
	if err := json.Unmarshal([]byte(b.ok("", "topic", "describe", "orders", "--json")), &before); err != nil {
		t.Fatal(err)
	}
	b.ok("", "produce", "orders", "4", "5", "-q")

	if got := b.ok("", "consume", "orders", "--group", "g", "--count", "4"); got != "1\n2\n3\n4\n" {
		t.Fatalf("consume: %q", got)
	}
	offset, lag, version := committed()
	if offset != 4 || lag != 1 || version == nil || *version <= *before[0].TableVersion {
		t.Errorf("committed %d, lag %d, version %v; the first three were there at version %d", offset, lag, version, *before[0].TableVersion)
	}
	if got := fields(b.ok("", "group", "list")); got != "GROUP STATE PROTOCOL g Empty consumer" {
		t.Errorf("group list: %s", got)
	}

	b.ok("", "group", "reset", "g", "--to", "latest", "--dry-run")
	if offset, _, _ := committed(); offset != 4 {
		t.Errorf("a dry run has set %d", offset)
	}
	for _, reset := range []struct {
		to   []string
		want int64
	}{
		{[]string{"--to", "earliest"}, 0},
		{[]string{"--to", "latest"}, 5},
		{[]string{"--to", "2", "--topic", "orders:0"}, 2},
		{[]string{"--to", "2001-01-01T00:00:00Z"}, 0},
		{[]string{"--to", "@4102444800000"}, 5}, // 2100: behind all records
		{[]string{"--to-version", optional(before[0].TableVersion)}, 3},
	} {
		b.ok("", append([]string{"group", "reset", "g"}, reset.to...)...)
		if offset, _, _ := committed(); offset != reset.want {
			t.Errorf("reset %v: %d, want %d", reset.to, offset, reset.want)
		}
	}
	for want, args := range map[string][]string{
		"no offset at table version 999": {"--to-version", "999"},
		"is outside the log":             {"--to", "6"},
		"topic nowhere does not exist":   {"--to", "latest", "--topic", "nowhere"},
		"orders, partition 3 does not":   {"--to", "latest", "--topic", "orders:3"},
	} {
		if got := b.fails(append([]string{"group", "reset", "g"}, args...)...); !strings.Contains(got, want) {
			t.Errorf("reset %v: %s", args, got)
		}
	}

	b.ok("", "group", "delete", "g")
	if got := b.fails("group", "describe", "g"); !strings.Contains(got, "group g does not exist") {
		t.Errorf("describe of a deleted group: %s", got)
	}
}

func TestGroupWithMembersIsNotReset(t *testing.T) {
	b := start(t, memory(t))
	defer b.end()
	b.ok("", "produce", "orders", "1", "-q")
	ctx, leave := context.WithCancel(t.Context())
	out, printed := io.Pipe()
	left := make(chan int)
	go func() {
		left <- run(ctx, []string{"consume", "orders", "--group", "g", "--brokers", b.address}, strings.NewReader(""), printed, io.Discard)
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "1\n" {
		t.Fatalf("the member has printed %q, %v", line, err)
	}
	if got := b.fails("group", "reset", "g", "--to", "earliest"); !strings.Contains(got, "group g has 1 member") || !strings.Contains(got, "Stop its consumers") {
		t.Errorf("got %s", got)
	}
	// Ctrl-C is how following ends, and the member leaves at once.
	leave()
	if code := <-left; code != exitOK {
		t.Errorf("exit code of consume: %d", code)
	}
	b.ok("", "group", "reset", "g", "--to", "earliest")
}

func TestRefusedRecordsEndTheInputWithAnError(t *testing.T) {
	b := start(t, memory(t), "--config", "message.max.bytes=100", "--config", "auto.create.topics.enable=false")
	defer b.end()
	b.ok("", "topic", "create", "small")
	if got := b.fails("produce", "small", strings.Repeat("x", 200)); !strings.Contains(got, "too large for topic small") {
		t.Errorf("got %s", got)
	}
	if got := b.fails("produce", "small", "x", "--partition", "7"); !strings.Contains(got, "partition") {
		t.Errorf("got %s", got)
	}
}
