// Package upkeep keeps a topic's table healthy: it decides, from what the log
// says of the files, which of them to rewrite, and rewrites them. It commits
// nothing and knows no store: package storage reads and puts the files and proposes
// the result to the table's committer, so that upkeep never conflicts with appends.
package upkeep

// Small files become larger ones in steps: a step merges neighbours below its limit
// once fanIn of them have come out of the step before. Each byte is rewritten about
// once per step, in the first one a few times more while the files are tiny, and a
// table has at most about fanIn files of each.
const (
	fanIn = 24
	// smallest is the limit of the first step in bytes, growth that of each further
	// one over the one before. The last step's is half the target.
	smallest = 256 << 10
	growth   = 16
)

// MaxInputs bounds the files of one rewriting, where many have piled up.
const MaxInputs = 512

// Pick answers which files to merge next into about one of target bytes, neighbours
// in sizes, as a half-open range; from == to if there is nothing to do. sizes are
// those of a table's files in bytes, in the order in which their records were
// committed; a file that must stay as it is has math.MaxInt64.
func Pick(sizes []int64, target int64) (from, to int) {
	before := int64(0)
	for limit := min(smallest, target/2); before < target/2; before, limit = limit, min(limit*growth, target/2) {
		if from, to = pickStep(sizes, before, limit, target); to > from {
			return from, to
		}
	}
	return 0, 0
}

// pickStep finds neighbours below limit of which at least fanIn are not below before.
func pickStep(sizes []int64, before, limit, target int64) (from, to int) {
	sum, count := int64(0), 0
	for i, size := range sizes {
		if size >= limit {
			from, sum, count = i+1, 0, 0
			continue
		}
		if sum += size; size >= before {
			count++
		}
		switch last := i+1 == len(sizes); {
		case !last && sizes[i+1] < limit && sum+sizes[i+1] <= target && i+1-from < MaxInputs:
			// The next one belongs to them.
		case count >= fanIn, sum > target/2 && i > from:
			return from, i + 1
		default:
			from, sum, count = i+1, 0, 0
		}
	}
	return 0, 0
}
