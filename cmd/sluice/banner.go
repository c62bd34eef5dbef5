package main

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"sluice/broker"
)

// banner is what a user sees of a broker that serves: where things are, and
// what to try. The rest is in the log, on standard error.
type banner struct {
	listeners []broker.Listener
	store     string // URL
	probe     string // what the start-up probe found
	http      string // listening address, empty: off
}

func (b banner) write(w io.Writer) error {
	var lines []string
	add := func(label, text string) { lines = append(lines, fmt.Sprintf("  %-6s %s", label, text)) }

	lines = append(lines, "", "sluice "+version(), "")
	for i, l := range b.listeners {
		label, text := "kafka", advertisedAddress(l)
		if i > 0 {
			label = ""
		}
		if len(b.listeners) > 1 {
			text += "  (" + l.Name + " at " + l.Bind + ")"
		}
		add(label, text)
	}
	inMemory := strings.HasPrefix(b.store, "mem://")
	if inMemory {
		add("store", b.store+"  (gone when this ends)")
	} else {
		add("store", b.store)
	}
	if b.probe != "" {
		add("", b.probe)
	}
	if b.http != "" {
		add("http", reachable(b.http)+"/metrics  /healthz  /readyz")
	}
	lines = append(lines, "")
	flag := ""
	if a := b.nearest(); a != "localhost:9092" {
		flag = " --brokers " + a
	}
	add("try", `sluice produce hello "first record"`+flag)
	add("", "sluice consume hello"+flag)
	if !inMemory {
		add("", "sluice table sql hello --engine duckdb"+flag)
	}
	lines = append(lines, "", "")
	_, err := io.WriteString(w, strings.Join(lines, "\n"))
	return err
}

// nearest is the address that a person on this machine most likely reaches: that
// of a listener at localhost, else the first.
func (b banner) nearest() string {
	for _, l := range b.listeners {
		if l.Host == "localhost" || net.ParseIP(l.Host).IsLoopback() {
			return advertisedAddress(l)
		}
	}
	return advertisedAddress(b.listeners[0])
}

func advertisedAddress(l broker.Listener) string {
	return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
}
