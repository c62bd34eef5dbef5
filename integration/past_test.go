//go:build integration

package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	pastTopic = "past"
	// retentionTimeout bounds the wait for retention, for which a broker looks every
	// five minutes.
	retentionTimeout = 8 * time.Minute
)

// pastOf is a table that has been through all that Sluice does to tables, at a place
// that engines read from s's kind of store, and its rows: checkpoints, clean-up of the
// log, compaction, deleted rows, an optimization, a restart; and retention, where the
// whole card is made, as it takes minutes. It is made once for each binary; a bucket
// gets a copy, as a topic's folder is all that a topic is.
func pastOf(t *testing.T, s store) (table string, want map[id]record) {
	t.Helper()
	full := os.Getenv("SLUICE_TEST_CARD") == "full"
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	dir := installed(t, "past", fmt.Sprintf("%x %t", sha256.Sum256(program), full), func(t *testing.T, dir string) {
		makePast(t, dir, full)
	})
	text, err := os.ReadFile(filepath.Join(dir, "rows"))
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	scanLines(string(text), func(line []byte) {
		r, err := parseRecord(string(line))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	})
	local := filepath.Join(dir, "store", pastTopic)
	if !strings.HasPrefix(s.url, "s3://") {
		return local, index(t, records)
	}
	s.url += "-past"
	s.upload(t, local, pastTopic)
	return s.table(pastTopic), index(t, records)
}

// makePast gives a table a past, and writes its rows beside it.
func makePast(t *testing.T, dir string, full bool) {
	s := store{name: "past", url: filepath.Join(dir, "store"), gaps: true}
	b := startSluice(t, s)
	createWith(t, b, pastTopic, map[string]string{"retention.ms": "3600000", "sluice.table.history.ms": "3600000"})
	want := map[id]record{}
	writes := func(tag string, old time.Duration) {
		t.Helper()
		for _, codec := range allCodecs {
			records := sample(tag+codec, 40, partitions)
			for i := range records {
				records[i].timestamp -= old.Milliseconds()
			}
			for _, r := range writeWith(t, b, pastTopic, codec, records) {
				want[r.id()] = r
			}
		}
	}
	if full {
		writes("old", 48*time.Hour)
		for deadline := time.Now().Add(retentionTimeout); ; time.Sleep(time.Second) {
			if strings.Contains(b.table(t, "describe", pastTopic, "--json"), `"rows": 0,`) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("retention has not come")
			}
		}
		clear(want)
	}
	writes("new", 0)
	first := untilCheckpoint(t, b, pastTopic, 0, want)
	b.table(t, "delete", pastTopic, "--offsets", "2:90-95")
	for at := range want {
		if at.partition == 2 && at.offset >= 90 && at.offset <= 95 {
			delete(want, at)
		}
	}

	// Hours later, by the store's clock: the log is cleaned up behind the next checkpoint.
	b.stop(t)
	age(t, filepath.Join(s.url, pastTopic, "_delta_log"), 3*time.Hour)
	b.restart(t)
	untilCheckpoint(t, b, pastTopic, first+1, want)
	entry := filepath.Join(s.url, pastTopic, "_delta_log", fmt.Sprintf("%020d.json", 0))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(entry); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the log is not cleaned up")
		}
	}
	b.table(t, "optimize", pastTopic)
	writes("last", 0)
	b.stop(t)

	var lines strings.Builder
	for _, r := range want {
		lines.WriteString(r.line() + "\n")
	}
	write(t, filepath.Join(dir, "rows"), lines.String())
}

// age makes the files of a folder look older.
func age(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		at := info.ModTime().Add(-by)
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// upload copies a folder into the bucket of the store, below a key.
func (s store) upload(t *testing.T, from, to string) {
	t.Helper()
	cl, bucket, prefix := s.bucket()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key := prefix + to + "/" + filepath.ToSlash(strings.TrimPrefix(path, from+string(filepath.Separator)))
		_, err = cl.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(text)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
