package delta

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Table properties of the protocol that bear on the log.
const (
	PropertyLogRetention         = "delta.logRetentionDuration"
	PropertyDeletedFileRetention = "delta.deletedFileRetentionDuration"
	PropertyCheckpointInterval   = "delta.checkpointInterval"
)

// What the protocol and Spark take when a property is absent or unreadable.
const (
	defaultLogRetention         = 30 * 24 * time.Hour
	defaultDeletedFileRetention = 7 * 24 * time.Hour
)

// LogRetention is how long the entries behind a checkpoint stay.
func (m *Metadata) LogRetention() time.Duration {
	return m.interval(PropertyLogRetention, defaultLogRetention)
}

// DeletedFileRetention is how long a removed file stays named by a tombstone.
func (m *Metadata) DeletedFileRetention() time.Duration {
	return m.interval(PropertyDeletedFileRetention, defaultDeletedFileRetention)
}

func (m *Metadata) interval(property string, otherwise time.Duration) time.Duration {
	text, ok := m.Configuration[property]
	if !ok {
		return otherwise
	}
	d, err := ParseInterval(text)
	if err != nil {
		return otherwise
	}
	return d
}

func (m *Metadata) canRead() error {
	if p := m.Format.Provider; p != "" && p != "parquet" {
		return &UnsupportedError{Feature: fmt.Sprintf("data format %.32q", p)}
	}
	return nil
}

var intervalUnits = map[string]time.Duration{
	"week": 7 * 24 * time.Hour, "day": 24 * time.Hour, "hour": time.Hour, "minute": time.Minute,
	"second": time.Second, "millisecond": time.Millisecond, "microsecond": time.Microsecond,
}

// maxInterval keeps a sum of intervals and a time within their types.
const maxInterval = 100 * 366 * 24 * time.Hour

// ParseInterval reads a duration of a table property: "interval 7 days", also
// with several parts and without the word. Months and years have no fixed
// length and are refused, as by the engines.
func ParseInterval(text string) (time.Duration, error) {
	words := strings.Fields(strings.ToLower(text))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, fmt.Errorf("not an interval: %.40q", text)
	}
	var sum time.Duration
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i], 10, 64)
		unit, ok := intervalUnits[strings.TrimSuffix(words[i+1], "s")]
		if err != nil || !ok || n < 0 {
			return 0, fmt.Errorf("not an interval: %.40q", text)
		}
		if n > int64(maxInterval/unit) {
			return maxInterval, nil
		}
		sum = min(sum+time.Duration(n)*unit, maxInterval)
	}
	return sum, nil
}
