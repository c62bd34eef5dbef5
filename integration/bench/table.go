//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// table is a table in Markdown; its first row is the head.
type table [][]string

func (t table) String() string {
	var b strings.Builder
	for i, row := range t {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(row)) + "\n")
		}
	}
	return b.String()
}

// none is a cell without a figure.
const none = "–"

// amount writes a number as people do, with three digits: 1.52 M, 389 k, 0.31.
func amount(v float64) string {
	switch {
	case v >= 1e6:
		return digits(v/1e6) + " M"
	case v >= 1e4:
		return digits(v/1e3) + " k"
	}
	return digits(v)
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// rate writes records per second.
func rate(v float64) string { return amount(v) + "/s" }

// milliseconds writes a latency given in ms.
func milliseconds(v float64) string {
	if v >= 1000 {
		return digits(v/1000) + " s"
	}
	return digits(v) + " ms"
}

func mib(bytes float64) string { return fmt.Sprintf("%.0f MiB", bytes/(1<<20)) }

// ratio is a to b; none if one of them is not known.
func ratio(a, b float64) string {
	if a <= 0 || b <= 0 || math.IsNaN(a/b) {
		return none
	}
	return digits(a/b) + " x"
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
