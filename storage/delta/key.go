package delta

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// EntryKey is the key of a version's entry in the log of a table.
func EntryKey(table string, version int64) string {
	return fmt.Sprintf("%s/_delta_log/%020d.json", table, version)
}

// CheckpointKey is the key of a version's classic checkpoint.
func CheckpointKey(table string, version int64) string {
	return fmt.Sprintf("%s/_delta_log/%020d.checkpoint.parquet", table, version)
}

// LastCheckpointKey is the key of the hint that names the newest checkpoint.
func LastCheckpointKey(table string) string { return table + "/_delta_log/_last_checkpoint" }

// logPrefix begins all keys of versions: twenty digits hold more than an int64,
// so that the first of them is always zero. It keeps other names (_last_checkpoint,
// _staged_commits/, _sidecars/, .N.json.crc) out of a listing.
func logPrefix(table string) string { return table + "/_delta_log/0" }

// beforeVersion sorts just before all keys of a version.
func beforeVersion(table string, version int64) string {
	return fmt.Sprintf("%s/_delta_log/%020d", table, version)
}

// logKind says what a key of the log is.
type logKind int

const (
	logOther      logKind = iota // nothing that we know
	logEntry                     // <version>.json
	logCheckpoint                // <version>.checkpoint.parquet, or one part of several
	logV2                        // <version>.checkpoint.<uuid>.(json|parquet)
	logExtra                     // <version>.crc, <version>.<version>.compacted.json
)

// logName is a parsed key of the log.
type logName struct {
	kind        logKind
	version     int64
	part, parts int // of a checkpoint; 1 of 1 for the classic one
}

const versionDigits = 20

// maxParts bounds the parts of a checkpoint: what a writer claims is a number of
// objects that we then look for. Spark makes one part per million actions.
const maxParts = 10_000

// parseLogKey takes the part of a key behind "_delta_log/".
func parseLogKey(name string) logName {
	if len(name) <= versionDigits || name[versionDigits] != '.' {
		return logName{}
	}
	version, ok := parseDigits(name[:versionDigits])
	if !ok {
		return logName{}
	}
	n := logName{version: version, part: 1, parts: 1}
	switch rest := name[versionDigits+1:]; {
	case rest == "json":
		n.kind = logEntry
	case rest == "checkpoint.parquet":
		n.kind = logCheckpoint
	case rest == "crc":
		n.kind = logExtra
	case strings.HasPrefix(rest, "checkpoint."):
		elements := strings.Split(rest, ".")
		part, parts := int64(0), int64(0)
		if len(elements) == 4 && elements[3] == "parquet" {
			part, _ = parseDigits(elements[1])
			parts, _ = parseDigits(elements[2])
		}
		switch {
		case 1 <= part && part <= parts && parts <= maxParts:
			n.kind, n.part, n.parts = logCheckpoint, int(part), int(parts)
		case len(elements) == 3:
			n.kind = logV2
		}
	case len(rest) == versionDigits+len(".compacted.json") && strings.HasSuffix(rest, ".compacted.json"):
		if _, ok := parseDigits(rest[:versionDigits]); ok {
			n.kind = logExtra
		}
	}
	return n
}

func parseDigits(text string) (int64, bool) {
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n < math.MaxInt64
}
