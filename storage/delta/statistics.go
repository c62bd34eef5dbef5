package delta

import (
	"encoding/json"
	"fmt"
)

// Statistics is the content of Add.Stats [P Per-file Statistics]. Minima and
// maxima are kept for the leading columns only, and left out where all are null.
// Another writer's may be missing or wrong in any part: the footer of the file
// is the truth.
type Statistics struct {
	NumRecords int64                      `json:"numRecords"`
	MinValues  map[string]json.RawMessage `json:"minValues"`
	MaxValues  map[string]json.RawMessage `json:"maxValues"`
	NullCount  map[string]json.RawMessage `json:"nullCount"`
}

// ParseStatistics reads Add.Stats. NumRecords is -1 if it is missing.
func ParseStatistics(stats string) (Statistics, error) {
	s := Statistics{NumRecords: -1}
	if stats == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(stats), &s); err != nil {
		return Statistics{NumRecords: -1}, fmt.Errorf("statistics: %w", err)
	}
	return s, nil
}

// Marshal writes the statistics for Add.Stats, with empty objects, never null.
func (s Statistics) Marshal() (string, error) {
	for _, values := range []*map[string]json.RawMessage{&s.MinValues, &s.MaxValues, &s.NullCount} {
		if *values == nil {
			*values = map[string]json.RawMessage{}
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("statistics: %w", err)
	}
	return string(text), nil
}
