package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice/storage/delta"
	"sluice/storage/rows"
)

// What of a topic stands in its table: the metaData's configuration and the
// names of txn actions.

const (
	propertyPartitions = "sluice.partitions"
	propertyDeleted    = "sluice.deleted"
	propertyPrefix     = "sluice."
	// propertyAppendOnly forbids what retention does: to take rows out of a table
	// [P Append-only Tables]. Sluice never sets it; an engine may.
	propertyAppendOnly = "delta.appendOnly"
)

// properties is what a table's configuration says of its topic.
type properties struct {
	partitions int32
	deleted    bool
	config     map[string]string // the topic's own Kafka configs
}

// parseProperties reads a table's configuration; errNoTopic if it is no topic's.
func parseProperties(configuration map[string]string) (properties, error) {
	n, err := strconv.ParseInt(configuration[propertyPartitions], 10, 32)
	if err != nil || n < 1 || n > maxPartitions {
		return properties{}, fmt.Errorf("%w: table property %s is %q", errNoTopic, propertyPartitions, configuration[propertyPartitions])
	}
	p := properties{partitions: int32(n), deleted: configuration[propertyDeleted] == "true", config: map[string]string{}}
	for property, value := range configuration {
		if key, ok := configOf(property); ok {
			p.config[key] = value
		}
	}
	return p, nil
}

// propertyOf is the table property that holds a topic config: Kafka's keys get
// the prefix "sluice.", which ours have already.
func propertyOf(key string) string {
	if strings.HasPrefix(key, propertyPrefix) {
		return key
	}
	return propertyPrefix + key
}

// configOf is the topic config that a table property holds, if it holds one.
func configOf(property string) (string, bool) {
	if _, ok := LookupConfig(property); ok {
		return property, true
	}
	key, ok := strings.CutPrefix(property, propertyPrefix)
	if !ok {
		return "", false
	}
	_, ok = LookupConfig(key)
	return key, ok
}

// configuration makes a table's configuration. old is kept but for what the
// topic's configs and settings determine.
func configuration(old map[string]string, partitions int32, config map[string]string, s Settings) map[string]string {
	c := maps.Clone(old)
	if c == nil {
		c = map[string]string{}
	}
	maps.DeleteFunc(c, func(property, _ string) bool {
		_, ok := configOf(property)
		return ok
	})
	delete(c, propertyDeleted)
	delete(c, propertyAppendOnly)
	c[propertyPartitions] = strconv.Itoa(int(partitions))
	for key, value := range config {
		c[propertyOf(key)] = value
	}
	// Other writers would clean the log on their own schedule.
	c["delta.enableExpiredLogCleanup"] = "false"
	c["delta.checkpointInterval"] = "100"
	c["delta.dataSkippingStatsColumns"] = "partition,offset,timestamp"
	c["delta.targetFileSize"] = strconv.FormatInt(s.TargetFileBytes, 10)
	c["delta.logRetentionDuration"] = interval(s.HistoryMs)
	c["delta.deletedFileRetentionDuration"] = interval(s.DeletedFilesMs)
	return c
}

// interval is a duration as Delta's table properties take it. The largest unit
// that is exact is used: not every reader knows the small ones.
func interval(ms int64) string {
	for _, unit := range []struct {
		ms   int64
		name string
	}{{86_400_000, "days"}, {3_600_000, "hours"}, {60_000, "minutes"}, {1000, "seconds"}} {
		if ms%unit.ms == 0 {
			return fmt.Sprintf("interval %d %s", ms/unit.ms, unit.name)
		}
	}
	return fmt.Sprintf("interval %d milliseconds", ms)
}

// writerFeatures are what a table may ask of its writers. Appends of rows of the
// promised schema keep to all of them.
var writerFeatures = []string{delta.FeatureAppendOnly, delta.FeatureInvariants, delta.FeatureSluice}

// protocol is the table's protocol action for a writer mode. The feature sluice
// makes every other conforming writer refuse (see README.md).
func protocol(anyWriter bool) *delta.Protocol {
	if anyWriter {
		return &delta.Protocol{MinReaderVersion: 1, MinWriterVersion: 2}
	}
	return &delta.Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: writerFeatures}
}

// nextOffsetApp names the txn action that holds a partition's next offset, and
// logStartApp that of its log start offset. They carry the table's id, since the
// log of a deleted topic goes on when the topic is made again.
func nextOffsetApp(id string, partition int32) string {
	return "sluice.next_offset/" + id + "/" + strconv.Itoa(int(partition))
}

func logStartApp(id string, partition int32) string {
	return logStartPrefix + id + "/" + strconv.Itoa(int(partition))
}

// parseLogStartApp is the partition whose log start offset a txn action holds.
func parseLogStartApp(id, app string) (partition int32, ok bool) {
	rest, ok := strings.CutPrefix(app, logStartPrefix)
	if !ok {
		return 0, false
	}
	number, ok := strings.CutPrefix(rest, id+"/")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(number, 10, 32)
	return int32(n), err == nil && n >= 0
}

const logStartPrefix = "sluice.log_start/"

// createTable makes the table of a new topic. Where a deleted topic left its log
// that goes on, with the new id. ErrTopicExists comes with the row of the topic that
// is there (somebody was faster).
func createTable(ctx context.Context, env *env, name string, id uuid.UUID, partitions int32, config map[string]string, settings Settings) (catalogueRow, error) {
	log := env.newLog(name)
	e := &delta.Entry{
		Info: &delta.CommitInfo{
			Timestamp: time.Now().UnixMilli(), Operation: "CREATE TABLE", OperationParameters: map[string]string{},
			IsBlindAppend: true, EngineInfo: env.options.Engine, TxnID: uuid.NewString(),
		},
		Protocol: protocol(settings.AnyWriter),
		Metadata: &delta.Metadata{
			ID: id.String(), Name: name, Format: delta.Format{Provider: "parquet", Options: map[string]string{}},
			SchemaString: rows.SchemaString, PartitionColumns: []string{}, CreatedTime: time.Now().UnixMilli(),
			Configuration: configuration(nil, partitions, config, settings),
		},
	}
	row := liveRow(TopicInfo{Name: name, ID: id, Partitions: partitions})
	_, err := log.Create(ctx, e)
	if err == nil {
		return row, nil
	}
	if !errors.Is(err, delta.ErrTableExists) {
		return catalogueRow{}, storeError(err)
	}
	for {
		snap, err := log.Open(ctx, nil)
		if err != nil {
			return catalogueRow{}, storeError(err)
		}
		defer snap.Release() // of one round, nearly always
		there, err := snapshotRow(name, snap)
		if err != nil {
			return catalogueRow{}, fmt.Errorf("%w: %s: its folder holds another Delta table: %w", ErrInvalidTopic, name, err)
		}
		if there.State == stateLive {
			return there, fmt.Errorf("%w: %s", ErrTopicExists, name)
		}
		e.Version = snap.Version + 1
		e.Info.Timestamp = snap.NextTimestamp(time.Now())
		e.Info.Operation, e.Info.IsBlindAppend = "REPLACE TABLE", false
		// None should be left; what is must not come to life in the new topic.
		e.Removes = removeAll(snap)
		// The leader epoch goes on, so that a leader of the deleted topic is fenced.
		e.Txns = []delta.Txn{{AppID: delta.EpochApp, Version: delta.Epoch(snap) + 1}}
		_, foreign, err := log.Commit(ctx, e, snap.Proved)
		if err == nil && foreign == nil {
			return row, nil
		}
		if err != nil && !errors.Is(err, delta.ErrMoved) {
			return catalogueRow{}, storeError(err)
		}
	}
}

// removeAll takes all files out of a table.
func removeAll(snap *delta.Snapshot) []delta.Remove {
	now := time.Now().UnixMilli()
	removes := make([]delta.Remove, 0, len(snap.Files))
	for _, a := range snap.Files {
		removes = append(removes, delta.Remove{
			Path: a.Path, DeletionTimestamp: now, DataChange: true, ExtendedFileMetadata: true,
			PartitionValues: map[string]string{}, Size: a.Size,
		})
	}
	slices.SortFunc(removes, func(a, b delta.Remove) int { return cmp.Compare(a.Path, b.Path) })
	return removes
}

// storeError makes errors of the layers below this package's own.
func storeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, delta.ErrFenced), errors.Is(err, delta.ErrMoved):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, delta.ErrStopping):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, ErrStopped):
		return err
	case errors.Is(err, delta.ErrFull):
		return fmt.Errorf("%w: %w; give the broker more memory (its container's limit, or GOMEMLIMIT), or use fewer topics of many files at a time", ErrNoRoom, err)
	case errors.Is(err, delta.ErrTooLarge):
		return fmt.Errorf("%w: %w; give the broker more memory (its container's limit, or GOMEMLIMIT), or put right what somebody has left there, and it goes on", ErrStopped, err)
	case errors.Is(err, delta.ErrCorrupt):
		return fmt.Errorf("%w: %w; put back what the table had there (an older version or a copy of the object, or remove one that does not belong there; "+
			"sluice check tells what is damaged), and it goes on", ErrStopped, err)
	case errors.Is(err, delta.ErrUnsupported), errors.Is(err, errNoTopic):
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	for _, own := range []error{ErrUnknownTopic, ErrNotLeader, ErrClosed, ErrStopped, ErrNoRoom, ErrUnavailable, ErrInvalidConfig, ErrInvalidPartition, ErrOffsetOutOfRange} {
		if errors.Is(err, own) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// versionError says that a version cannot be read any more, or not yet.
func versionError(err error) error {
	if errors.Is(err, delta.ErrNoVersion) {
		return fmt.Errorf("%w: %w", ErrVersionGone, err)
	}
	return storeError(err)
}
