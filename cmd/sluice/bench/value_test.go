package bench

import (
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
)

func TestValuesCompressLikeRecordsAndCarryTheirTime(t *testing.T) {
	s := slab{load: &Load{Size: 100}}
	var all []byte
	at := time.Unix(1_000_000_000, 5)
	for range 5000 {
		v := s.record("topic", at).Value
		if len(v) != 100 || stamped(v) != at.UnixNano() {
			t.Fatalf("%q", v)
		}
		all = append(all, v[MinSize:]...)
	}
	ratio := float64(len(s2.EncodeSnappy(nil, all))) / float64(len(all))
	t.Logf("Snappy leaves %.2f", ratio)
	if ratio < 0.3 || ratio > 0.6 {
		t.Errorf("Snappy leaves %.2f of the values", ratio)
	}
}
