package upkeep

import (
	"fmt"
	"math"
	"testing"
)

func TestATableStaysSmallHoweverLongItIsWrittenTo(t *testing.T) {
	for _, target := range []int64{1 << 20, 32 << 20, 256 << 20} {
		for _, size := range []int64{1 << 10, 20 << 10, 300 << 10, 3 << 20} {
			t.Run(fmt.Sprintf("files of %d KiB, target %d MiB", size>>10, target>>20), func(t *testing.T) {
				var files []int64
				var written, rewritten int64
				most := 0
				for range 5_000 {
					files = append(files, size)
					written += size
					for from, to := Pick(files, target); to > from; from, to = Pick(files, target) {
						sum := int64(0)
						for _, size := range files[from:to] {
							sum += size
						}
						if sum > target || to-from < 2 {
							t.Fatalf("%d files of %d bytes are merged", to-from, sum)
						}
						rewritten += sum
						files = append(append(files[:from:from], sum), files[to:]...)
					}
					small := 0
					for _, size := range files {
						if size < target/2 {
							small++
						}
					}
					most = max(most, small)
				}
				if most > 150 {
					t.Errorf("%d small files", most)
				}
				times := float64(rewritten) / float64(written)
				if times > 10 {
					t.Errorf("each byte is written %.1f times more", times)
				}
				t.Logf("%d files, at most %d small ones, bytes rewritten %.1f times", len(files), most, times)
			})
		}
	}
}

func TestThousandsOfSmallFilesAreMergedAtOnce(t *testing.T) {
	files := make([]int64, 5000)
	for i := range files {
		files[i] = 10 << 10
	}
	rewritings := 0
	for from, to := Pick(files, 32<<20); to > from; from, to = Pick(files, 32<<20) {
		rewritings++
		sum := int64(0)
		for _, size := range files[from:to] {
			sum += size
		}
		files = append(append(files[:from:from], sum), files[to:]...)
	}
	if rewritings > 20 || len(files) > 30 {
		t.Errorf("%d files after %d rewritings", len(files), rewritings)
	}
}

func TestFilesThatMustStayPartTheOthers(t *testing.T) {
	var files []int64
	for range 60 {
		files = append(files, 1<<10)
	}
	files[23], files[50] = math.MaxInt64, math.MaxInt64
	if from, to := Pick(files, 32<<20); from != 24 || to != 50 {
		t.Errorf("picked %d to %d", from, to)
	}
}
