package delta

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// maxStatsDepth bounds the nesting of columns in statistics.
const maxStatsDepth = 32

// readParsedStats fills in the statistics of adds that have none from the struct
// add.stats_parsed, which some writers put in place of the JSON
// (delta.checkpoint.writeStatsAsJson=false) [P Checkpoint Schema].
func readParsedStats(adds []*Add, r *checkpointGroupReader) {
	root := r.column("add", "stats_parsed")
	if root == nil {
		return
	}
	rebuilt := make([]map[string]any, len(adds))
	var walk func(column *parquet.Column, path []string)
	walk = func(column *parquet.Column, path []string) {
		if len(path) > maxStatsDepth {
			r.corrupt(column, "is nested too deep")
			return
		}
		for _, child := range column.Columns() {
			childPath := append(path[:len(path):len(path)], child.Name())
			if !child.Leaf() {
				walk(child, childPath)
				continue
			}
			value := statsReader(child, len(childPath) > 0 && childPath[0] == "maxValues")
			if value == nil || child.MaxRepetitionLevel() != 0 {
				continue // of no use in statistics
			}
			r.values(child, child, child.Type().Kind(), func(row int, v parquet.Value) {
				if v.IsNull() || adds[row] == nil || adds[row].Stats != "" {
					return
				}
				r.budget.bytes -= int64(len(v.Bytes()))
				if r.budget.bytes < 0 {
					r.fail(unfolds("bytes"))
					return
				}
				if usable := value(v); usable != nil {
					setStats(&rebuilt[row], childPath, usable)
				}
			})
		}
	}
	walk(root, nil)
	if r.err != nil {
		return
	}
	for row, stats := range rebuilt {
		if stats == nil {
			continue
		}
		if text, err := json.Marshal(stats); err == nil {
			adds[row].Stats = string(text)
		}
	}
}

func setStats(stats *map[string]any, path []string, value any) {
	if *stats == nil {
		*stats = make(map[string]any)
	}
	m := *stats
	for _, name := range path[:len(path)-1] {
		inner, ok := m[name].(map[string]any)
		if !ok {
			inner = make(map[string]any)
			m[name] = inner
		}
		m = inner
	}
	m[path[len(path)-1]] = value
}

// statsReader returns how a column's values look in the JSON of statistics, nil
// if they have no place there. A value that has none is nil. The upper bound of
// a timestamp is rounded up, as the JSON has milliseconds only.
func statsReader(column *parquet.Column, upper bool) func(parquet.Value) any {
	typ := column.Type()
	var logical any
	if t := typ.LogicalType(); t != nil {
		logical = t.Value
	}
	switch t := logical.(type) {
	case *format.TimestampType:
		unit := int64(1)
		switch t.Unit.Value.(type) {
		case *format.MilliSeconds:
			unit = 1e6
		case *format.MicroSeconds:
			unit = 1e3
		}
		if typ.Kind() == parquet.Int64 {
			return func(v parquet.Value) any { return statsTime(v.Int64(), unit, upper) }
		}
		return nil
	case *format.DateType:
		if typ.Kind() == parquet.Int32 {
			return func(v parquet.Value) any {
				return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly)
			}
		}
		return nil
	case *format.DecimalType:
		return func(v parquet.Value) any { return statsDecimal(v, int(t.Scale)) }
	}
	switch typ.Kind() {
	case parquet.Boolean:
		return func(v parquet.Value) any { return v.Boolean() }
	case parquet.Int32:
		return func(v parquet.Value) any { return v.Int32() }
	case parquet.Int64:
		return func(v parquet.Value) any { return v.Int64() }
	case parquet.Float:
		return func(v parquet.Value) any { return statsFloat(float64(v.Float())) }
	case parquet.Double:
		return func(v parquet.Value) any { return statsFloat(v.Double()) }
	case parquet.Int96:
		return func(v parquet.Value) any {
			// Nanoseconds of the day, then the Julian day (Spark's timestamp).
			words := v.Int96()
			nanos, days := int64(words[1])<<32|int64(words[0]), int64(words[2])-2440588
			if days < -100_000 || days > 100_000 || nanos < 0 || nanos > 86400e9 {
				return nil
			}
			return statsTime(days*86400e9+nanos, 1, upper)
		}
	case parquet.ByteArray:
		if _, ok := logical.(*format.StringType); ok {
			return func(v parquet.Value) any { return string(v.ByteArray()) }
		}
	}
	return nil
}

// statsTime formats a timestamp that counts in unit nanoseconds.
func statsTime(n, unit int64, upper bool) any {
	perMilli := int64(1e6) / unit
	ms, rest := n/perMilli, n%perMilli
	if rest < 0 {
		ms, rest = ms-1, rest+perMilli
	}
	if upper && rest > 0 {
		ms++
	}
	t := time.UnixMilli(ms).UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		return nil // engines fail on whole tables over such a value
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

func statsFloat(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}

// maxDecimalScale is Delta's largest precision.
const maxDecimalScale = 38

func statsDecimal(v parquet.Value, scale int) any {
	if scale < 0 || scale > maxDecimalScale {
		return nil
	}
	unscaled := new(big.Int)
	switch v.Kind() {
	case parquet.Int32:
		unscaled.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		unscaled.SetInt64(v.Int64())
	case parquet.ByteArray, parquet.FixedLenByteArray:
		b := v.ByteArray() // two's complement, big end first
		if len(b) == 0 || len(b) > 16 {
			return nil
		}
		unscaled.SetBytes(b)
		if b[0]&0x80 != 0 {
			unscaled.Sub(unscaled, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
	default:
		return nil
	}
	digits := unscaled.String()
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	if scale == 0 {
		return json.Number(sign + digits)
	}
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	return json.Number(sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:])
}
