package check

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseInterval reads a duration of a table property, "interval 7 days". Intervals
// longer than a time.Duration holds are the longest one.
func parseInterval(text string) (time.Duration, error) {
	words := strings.Fields(strings.TrimPrefix(strings.ToLower(text), "interval "))
	units := map[string]time.Duration{
		"week": 7 * 24 * time.Hour, "day": 24 * time.Hour, "hour": time.Hour, "minute": time.Minute,
		"second": time.Second, "millisecond": time.Millisecond, "microsecond": time.Microsecond,
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, fmt.Errorf("%.40q is no interval", text)
	}
	total := time.Duration(0)
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i], 10, 64)
		unit, ok := units[strings.TrimSuffix(words[i+1], "s")]
		if err != nil || !ok || n < 0 {
			return 0, fmt.Errorf("%.40q is no interval", text)
		}
		if n > int64((math.MaxInt64-total)/unit) {
			return math.MaxInt64, nil
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}
