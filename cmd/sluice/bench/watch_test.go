package bench

import (
	"math"
	"testing"
)

func TestTheMedianIsThatOfTheMeasuredTime(t *testing.T) {
	before := buckets{0.001: 90, 0.002: 100, math.Inf(1): 100}
	after := buckets{0.001: 90, 0.002: 140, math.Inf(1): 160}
	if got := after.median(before); math.Abs(got-0.00175) > 1e-9 {
		t.Errorf("median %v, want three quarters of the way through the bucket of 30 of 60", got)
	}
	if got := before.median(before); got != 0 {
		t.Errorf("median of nothing: %v", got)
	}
	if got := (buckets{0.001: 1, math.Inf(1): 10}).median(nil); got != 0.001 {
		t.Errorf("median beyond the last bound: %v", got)
	}
}

func TestPhasesOfACommitAreReadFromMetrics(t *testing.T) {
	c := cost{dataPuts: buckets{}, logPuts: buckets{}}
	c.observe(`phase="upload",le="0.001"}`, 7)
	c.observe(`phase="log",le="+Inf"}`, 8)
	c.observe(`phase="turn",le="0.001"}`, 9)
	if c.dataPuts[0.001] != 7 || c.logPuts[math.Inf(1)] != 8 || len(c.dataPuts)+len(c.logPuts) != 2 {
		t.Error(c.dataPuts, c.logPuts)
	}
}
