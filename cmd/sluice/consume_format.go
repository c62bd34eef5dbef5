package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// printer makes the function that prints a record. On a terminal, bytes that
// would steer it are escaped: a record's author is not to be trusted with it.
func (f format) printer(out *bufio.Writer, terminal bool) func(*kgo.Record) error {
	text := func(b []byte) []byte { return b }
	if terminal {
		text = escape
	}
	return func(r *kgo.Record) error {
		switch {
		case f.json:
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			return enc.Encode(newRecordJSON(r))
		case f.verbose:
			// Widths that fit what is usual; longer values shift their line only.
			fmt.Fprintf(out, "%3d  %10d  %s  %-16s  ", r.Partition, r.Offset, stamp(r), orNull(r.Key, text))
			out.Write(orNull(r.Value, text))
		default:
			if f.keySeparator != "" {
				out.Write(text(r.Key))
				out.WriteString(f.keySeparator)
			}
			out.Write(text(r.Value))
		}
		return out.WriteByte('\n')
	}
}

// stamp is the record's time in the user's zone, or dashes if it has none.
func stamp(r *kgo.Record) string {
	const layout = "2006-01-02 15:04:05.000"
	if r.Timestamp.UnixMilli() < 0 {
		return fmt.Sprintf("%-*s", len(layout), "-")
	}
	return r.Timestamp.Format(layout)
}

func orNull(b []byte, text func([]byte) []byte) []byte {
	if b == nil {
		return []byte("null")
	}
	return text(b)
}

// escape replaces control characters other than tab and line end, and bytes that
// are no UTF-8, by \x and \u escapes.
func escape(b []byte) []byte {
	var out []byte
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out = fmt.Appendf(out, `\x%02x`, b[i])
		case r != '\t' && r != '\n' && !unicode.IsPrint(r) && !unicode.IsSpace(r), r == '\r', r == 0x85:
			q := strconv.QuoteRuneToASCII(r)
			out = append(out, q[1:len(q)-1]...)
		default:
			out = append(out, b[i:i+size]...)
		}
		i += size
	}
	return out
}
