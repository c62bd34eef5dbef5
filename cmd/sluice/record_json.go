package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// recordJSON is a record as `consume --json` prints it and `produce --json` reads
// it, one a line: what one prints the other copies without loss. Bytes that are
// UTF-8 appear as a string, others in base64 under the other name; null is null.
type recordJSON struct {
	Topic       string          `json:"topic,omitempty"`
	Partition   *int32          `json:"partition,omitempty"`
	Offset      *int64          `json:"offset,omitempty"`
	Timestamp   *time.Time      `json:"timestamp,omitempty"`
	Key         json.RawMessage `json:"key,omitempty"`
	KeyBase64   []byte          `json:"key_base64,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
	Headers     []headerJSON    `json:"headers,omitempty"` // a list: Kafka keeps order and repetition
}

type headerJSON struct {
	Key         string          `json:"key"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
}

func newRecordJSON(r *kgo.Record) recordJSON {
	j := recordJSON{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset}
	if !r.Timestamp.IsZero() && r.Timestamp.UnixMilli() >= 0 { // -1: the record has none
		t := r.Timestamp.UTC()
		j.Timestamp = &t
	}
	j.Key, j.KeyBase64 = bytesJSON(r.Key)
	j.Value, j.ValueBase64 = bytesJSON(r.Value)
	for _, h := range r.Headers {
		header := headerJSON{Key: h.Key}
		header.Value, header.ValueBase64 = bytesJSON(h.Value)
		j.Headers = append(j.Headers, header)
	}
	return j
}

func bytesJSON(b []byte) (text json.RawMessage, base64 []byte) {
	switch {
	case b == nil:
		return json.RawMessage("null"), nil
	case utf8.Valid(b):
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(string(b)); err != nil {
			return nil, b
		}
		return bytes.TrimRight(buf.Bytes(), "\n"), nil
	}
	return nil, b
}

var errTwoForms = errors.New("both as text and in base64")

// jsonBytes is the reverse of bytesJSON. A JSON value that is no string stands
// for its own text, so that {"value":{"id":1}} produces {"id":1}.
func jsonBytes(text json.RawMessage, base64 []byte) ([]byte, error) {
	switch {
	case text != nil && base64 != nil:
		return nil, errTwoForms
	case base64 != nil:
		return base64, nil
	case text == nil || string(text) == "null":
		return nil, nil
	case text[0] == '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, err
		}
		return []byte(s), nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// parseRecordJSON reads one line of `produce --json`. Topic and offset are not
// looked at: they say where the record was, not where it goes. Partition is -1
// if the line names none.
func parseRecordJSON(line []byte) (*kgo.Record, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var j recordJSON
	if err := dec.Decode(&j); err != nil {
		return nil, fmt.Errorf("not a record in JSON: %w", err)
	}
	if dec.More() {
		return nil, errors.New("more than one JSON value on the line")
	}
	r := &kgo.Record{Partition: -1}
	if j.Partition != nil {
		r.Partition = *j.Partition
	}
	if j.Timestamp != nil {
		r.Timestamp = *j.Timestamp
	}
	var err error
	if r.Key, err = jsonBytes(j.Key, j.KeyBase64); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if r.Value, err = jsonBytes(j.Value, j.ValueBase64); err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	for _, h := range j.Headers {
		value, err := jsonBytes(h.Value, h.ValueBase64)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", h.Key, err)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: value})
	}
	return r, nil
}
