package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// jsonFlag adds --json, which every command that reports something has.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON for machines")
}

// writeJSON writes one indented document.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// grid is a table for people: columns as wide as their widest cell, two spaces
// between them, no rules and no colours, so that cut, awk and grep work on it.
type grid struct {
	header []string
	rows   [][]string
}

func newGrid(header ...string) *grid { return &grid{header: header} }

// add appends a row. An empty cell is shown as "-", so that columns can be counted.
func (g *grid) add(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = orElse(cell, "-")
	}
	g.rows = append(g.rows, row)
}

// write prints the grid. A column whose cells are all numbers (or "-") is
// aligned to the right.
func (g *grid) write(w io.Writer) error {
	width := make([]int, len(g.header))
	right := make([]bool, len(g.header))
	for i, name := range g.header {
		width[i] = utf8.RuneCountInString(name)
		right[i] = len(g.rows) > 0
		for _, row := range g.rows {
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
			right[i] = right[i] && isNumber(row[i])
		}
	}
	var b strings.Builder
	line := func(cells []string) {
		for i, cell := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			switch {
			case right[i]:
				b.WriteString(pad + cell)
			case i == len(cells)-1: // no trailing blanks
				b.WriteString(cell)
			default:
				b.WriteString(cell + pad)
			}
		}
		b.WriteByte('\n')
	}
	line(g.header)
	for _, row := range g.rows {
		line(row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func isNumber(cell string) bool {
	if cell == "-" {
		return true
	}
	digits := strings.TrimPrefix(cell, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

// isTerminal reports whether f is a terminal, as far as the standard library
// can tell: a device of characters other than the null device.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
