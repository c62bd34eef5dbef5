package delta

import (
	"encoding/json"
	"math"
)

// UnmarshalJSON never fails on JSON: commitInfo is free in form [P Commit
// Provenance Information], and Spark writes booleans among the parameters. A
// field of another type than ours is left out.
func (c *CommitInfo) UnmarshalJSON(data []byte) error {
	type plain CommitInfo // without methods
	wire := struct {
		*plain
		OperationParameters textValues `json:"operationParameters"`
	}{plain: new(plain)}
	if json.Unmarshal(data, &wire) == nil {
		*c = CommitInfo(*wire.plain)
		c.OperationParameters = wire.OperationParameters
		return nil
	}
	*c = CommitInfo{}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return nil // not even an object
	}
	for name, into := range map[string]any{
		"operation": &c.Operation, "isBlindAppend": &c.IsBlindAppend, "engineInfo": &c.EngineInfo,
		"readVersion": &c.ReadVersion, "txnId": &c.TxnID, "sluice": &c.Sluice,
	} {
		// What does not fit is left at its zero value.
		_ = json.Unmarshal(fields[name], into)
	}
	c.Timestamp = wholeNumber(fields["timestamp"])
	c.InCommitTimestamp = wholeNumber(fields["inCommitTimestamp"])
	var parameters textValues
	_ = json.Unmarshal(fields["operationParameters"], &parameters)
	c.OperationParameters = parameters
	return nil
}

// wholeNumber reads a number that may be written with a fraction, 0 if it is none.
func wholeNumber(data json.RawMessage) int64 {
	var f float64
	if json.Unmarshal(data, &f) != nil || math.Abs(f) > 1<<53 {
		return 0
	}
	return int64(f)
}

// textValues are the strings of an object; values of other types are kept as
// their JSON, nulls are left out.
type textValues map[string]string

func (t *textValues) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if json.Unmarshal(data, &raw) != nil || raw == nil {
		return nil
	}
	*t = make(textValues, len(raw))
	for name, value := range raw {
		var text *string
		switch {
		case json.Unmarshal(value, &text) != nil:
			(*t)[name] = string(value)
		case text != nil:
			(*t)[name] = *text
		}
	}
	return nil
}
