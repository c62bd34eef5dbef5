// Package wire is what the Go clients share: the lines of ../../README.md.
package wire

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Record is a record as the tests write and compare it. A nil key, value or header
// value is null, which is not empty.
type Record struct {
	Partition  int32 // -1: the client chooses
	Offset     int64
	Timestamp  int64 // ms
	Key, Value []byte
	Headers    []Header
}

// Header is one header of a record.
type Header struct {
	Name  string
	Value []byte
}

// out serialises what goroutines print.
var out sync.Mutex

func print(fields ...any) {
	out.Lock()
	defer out.Unlock()
	line := fmt.Sprintln(fields...)
	fmt.Print(line)
}

// Records are the records on standard input.
func Records() []Record {
	var records []Record
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		f := strings.Split(in.Text(), "\t")
		r := Record{Partition: -1, Timestamp: Number(f[2]), Key: decode(f[3]), Value: decode(f[4])}
		if f[0] != "-" {
			r.Partition = int32(Number(f[0]))
		}
		for _, pair := range strings.Split(f[5], ",") {
			if name, value, ok := strings.Cut(pair, "="); ok {
				r.Headers = append(r.Headers, Header{name, decode(value)})
			}
		}
		records = append(records, r)
	}
	Must(in.Err())
	return records
}

// Print tells of a record that was read.
func Print(r Record) {
	headers := make([]string, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = h.Name + "=" + encode(h.Value)
	}
	print(strings.Join([]string{"record", strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.Offset, 10),
		strconv.FormatInt(r.Timestamp, 10), encode(r.Key), encode(r.Value), strings.Join(headers, ",")}, "\t"))
}

// Acked tells of the record with that index on standard input.
func Acked(index int, partition int32, offset int64) {
	print(fmt.Sprintf("acked\t%d\t%d\t%d", index, partition, offset))
}

// Assigned tells which partitions a member has now.
func Assigned[N int | int32](partitions []N) {
	slices.Sort(partitions)
	fields := make([]string, len(partitions))
	for i, p := range partitions {
		fields[i] = strconv.Itoa(int(p))
	}
	print("assigned\t" + strings.Join(fields, ","))
}

// Leave is closed when a line comes on standard input.
func Leave() <-chan struct{} {
	leave := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		close(leave)
	}()
	return leave
}

// Tell prints what an admin call answered, or its error.
func Tell[V any](call string, f func() (V, error)) {
	if v, err := f(); err != nil {
		print(fmt.Sprintf("failed\t%s\t%s", call, strings.ReplaceAll(err.Error(), "\n", " ")))
	} else {
		print(fmt.Sprintf("admin\t%s\t%v", call, v))
	}
}

// From is a place to read from: (earliest, 0), (offset, N) or (timestamp, MS).
func From(arg string) (kind string, n int64) {
	kind, number, ok := strings.Cut(arg, "=")
	if ok {
		n = Number(number)
	}
	return kind, n
}

// Number is an integer that the tests gave.
func Number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	Must(err)
	return n
}

// YesNo is how admin calls tell whether something is there.
func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Must ends the program with an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func encode(b []byte) string {
	if b == nil {
		return "-"
	}
	return base64.StdEncoding.EncodeToString(b)
}

func decode(field string) []byte {
	if field == "-" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(field)
	Must(err)
	return b // empty, not nil, for ""
}
