package main

import (
	"strings"
	"testing"
)

// What go test -json prints becomes rows, and rows a table: what passed is counted,
// what did not has a note.
func TestEventsBecomeARowOfTheReport(t *testing.T) {
	var events strings.Builder
	say := func(action, test, output string) {
		line := strings.NewReplacer("ACTION", action, "TEST", test, "OUTPUT", output).Replace(
			`{"Action":"ACTION","Test":"TEST","Output":"OUTPUT","Elapsed":2}`)
		events.WriteString(line + "\n")
	}
	row := "TestClientCard/directory/Client_1.0"
	for _, test := range []string{"TestClientCard", "TestClientCard/directory", row, row + "/create", row + "/produce/gzip",
		row + "/produce/where_it_likes", row + "/idempotent", row + "/TLS", row + "/admin", row + "/admin/topics", row + "/admin/groups"} {
		say("run", test, "")
	}
	say("pass", row+"/create", "")
	say("pass", row+"/produce/gzip", "")
	say("output", row+"/produce/where_it_likes", `    script_test.go:1: partition 3\n`)
	say("output", row+"/produce/where_it_likes", `        and no other\n`)
	say("fail", row+"/produce/where_it_likes", "")
	say("output", row+"/idempotent", `    script_test.go:2: client: it has none\n`)
	say("skip", row+"/idempotent", "")
	say("output", row+"/TLS", `    script_test.go:3: not there yet: only PLAINTEXT\n`)
	say("skip", row+"/TLS", "")
	say("pass", row+"/admin/topics", "")
	say("pass", row+"/admin/groups", "")
	say("pass", row+"/admin", "")
	say("output", row, `    clients_test.go:9: installed x in 3s\n`)
	say("output", row, `    process_test.go:9: sluice: standard error\n`)
	say("fail", row, "")

	var rows []*result
	if err := collect(strings.NewReader(events.String()), func(r *result) error { rows = append(rows, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0].Name != "Client 1.0" || rows[0].Store != "directory" || rows[0].Took != 2 {
		t.Fatalf("rows %+v", rows)
	}
	text := report(rows, "")
	for _, want := range []string{
		"| Client 1.0 | directory | ok | ok 1/2, FAILED [1] | client [2] | not run | not run | not run | not run | ok 2/2 | not run | not run | not yet [3] | not run | ok | 2 s |",
		"1. produce/where it likes: partition 3 / and no other\n2. idempotent: it has none\n3. TLS: only PLAINTEXT\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestARowThatFailsBesideItsChecksSaysSo(t *testing.T) {
	events := `{"Action":"run","Test":"TestToolCard/MinIO/Tool"}
{"Action":"run","Test":"TestToolCard/MinIO/Tool/starts"}
{"Action":"pass","Test":"TestToolCard/MinIO/Tool/starts"}
{"Action":"output","Test":"TestToolCard/MinIO/Tool","Output":"    check_test.go:1: sluice check: {a gap}\n"}
{"Action":"fail","Test":"TestToolCard/MinIO/Tool"}
`
	var rows []*result
	if err := collect(strings.NewReader(events), func(r *result) error { rows = append(rows, r); return nil }); err != nil {
		t.Fatal(err)
	}
	want := "| Tool | MinIO | starts | row: FAILED [1] |"
	if text := report(rows, ""); !strings.Contains(text, want) || !strings.Contains(text, "1. row: sluice check: {a gap}\n") {
		t.Fatalf("no %q in\n%s", want, text)
	}
}

func TestATableOfWhichNoRowIsKeptStaysAsItWas(t *testing.T) {
	before := "# What works\n\n## Clients\nSays.\n\n| a |\n\n## Engines\nOld.\n"
	rows := []*result{{Suite: "TestEngineCard", Store: "MinIO", Name: "New", Checks: map[string]outcome{}}}
	text := report(rows, before)
	if !strings.Contains(text, "\n## Clients\nSays.\n\n| a |\n\n## Engines\n") || strings.Contains(text, "Old.") || !strings.Contains(text, "| New | MinIO |") {
		t.Fatal(text)
	}
	if again := report(rows, text); again != text {
		t.Fatalf("made again it is another:\n%s", again)
	}
}
