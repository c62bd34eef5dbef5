package check_test

import (
	"fmt"
	"testing"

	"sluice/storage/check"
	"sluice/storage/delta"
)

func TestWhatIsWrongInAnEntryIsSaid(t *testing.T) {
	for _, c := range []struct {
		what     string
		severity check.Severity
		lines    func(b *broken) []string
	}{
		{"no commitInfo", check.Error, func(b *broken) []string {
			return []string{`{"commitInfo":null}`, action("txn", map[string]any{"appId": "x", "version": 1})}
		}},
		{"does not rise", check.Error, func(b *broken) []string { return []string{b.info("timestamp", 5)} }},
		{"one commit stands in the log twice", check.Error, func(b *broken) []string {
			return []string{b.info("txnId", b.actions(b.tip(), "commitInfo")[0]["txnId"])}
		}},
		{`action "epilogue"`, check.Error, func(b *broken) []string {
			return []string{action("epilogue", map[string]any{"a": 1})}
		}},
		{"dataChange=true and with false", check.Error, func(b *broken) []string {
			f := b.file()
			return []string{action("remove", map[string]any{"path": f["path"], "dataChange": true, "deletionTimestamp": 1}),
				action("add", with(f, "path", "data/new", "dataChange", false))}
		}},
		{"the path stands in it twice", check.Error, func(b *broken) []string {
			f := with(b.file(), "dataChange", false)
			return []string{action("add", f), action("add", f)}
		}},
		{"removes a file that is not in the table", check.Error, func(b *broken) []string {
			return []string{action("remove", map[string]any{"path": "data/none", "dataChange": true, "deletionTimestamp": 1})}
		}},
		{"without deletionTimestamp", check.Error, func(b *broken) []string {
			return []string{action("remove", map[string]any{"path": b.file()["path"], "dataChange": true})}
		}},
		{"added again with dataChange=true", check.Error, func(b *broken) []string {
			return []string{action("add", with(b.file(), "dataChange", true))}
		}},
		{"is added again with 7 bytes", check.Error, func(b *broken) []string {
			return []string{action("add", with(b.file(), "dataChange", false, "size", 7))}
		}},
		{"without partitionValues", check.Error, func(b *broken) []string {
			return []string{action("add", with(b.file(), "dataChange", false, "partitionValues", nil))}
		}},
		{"without path or dataChange", check.Error, func(b *broken) []string {
			return []string{action("add", with(b.file(), "dataChange", nil))}
		}},
		{"a deletion vector", check.Error, func(b *broken) []string {
			return []string{action("add", with(b.file(), "dataChange", false, "deletionVector", map[string]any{"storageType": "u"}))}
		}},
		{"rows out and brings", check.Error, func(b *broken) []string {
			f := b.file()
			return []string{action("remove", map[string]any{"path": f["path"], "dataChange": false, "deletionTimestamp": 1}),
				action("add", with(f, "path", "data/new", "dataChange", false, "stats", `{"numRecords":1}`))}
		}},
		{"two txn actions", check.Error, func(b *broken) []string {
			txn := action("txn", map[string]any{"appId": "x", "version": 1})
			return []string{txn, txn}
		}},
		{"next_offset falls from 130 to 7", check.Error, func(b *broken) []string {
			return []string{b.txn("next_offset", 0, 7)}
		}},
		{"of a partition that the topic does not have", check.Error, func(b *broken) []string {
			return []string{b.txn("next_offset", 5, 7)}
		}},
		{"is of the topic other", check.Error, func(b *broken) []string {
			return []string{action("txn", map[string]any{"appId": "sluice.log_start/other/0", "version": 7})}
		}},
		{"log start offset 500 is beyond", check.Error, func(b *broken) []string {
			return []string{b.txn("log_start", 0, 500)}
		}},
		{"the leader epoch goes from", check.Error, func(b *broken) []string {
			return []string{action("txn", map[string]any{"appId": "sluice.leader_epoch", "version": 1})}
		}},
		{"the table's id changes", check.Error, func(b *broken) []string {
			return []string{action("metaData", with(b.metaData(), "id", "11111111-1111-1111-1111-111111111111"))}
		}},
		{"the number of partitions falls", check.Error, func(b *broken) []string { return []string{b.properties("sluice.partitions", "1")} }},
		{"how many partitions the topic has", check.Error, func(b *broken) []string { return []string{b.properties("sluice.partitions", nil)} }},
		{"delta.enableDeletionVectors", check.Error, func(b *broken) []string {
			return []string{b.properties("delta.enableDeletionVectors", "true")}
		}},
		{"delta.setTransactionRetentionDuration", check.Error, func(b *broken) []string {
			return []string{b.properties("delta.setTransactionRetentionDuration", "interval 1 days")}
		}},
		{"delta.enableExpiredLogCleanup", check.Warning, func(b *broken) []string {
			return []string{b.properties("delta.enableExpiredLogCleanup", "true")}
		}},
		{"which is no interval", check.Error, func(b *broken) []string {
			return []string{b.properties("delta.logRetentionDuration", "a while")}
		}},
		{"does not follow from", check.Warning, func(b *broken) []string {
			return []string{b.properties("sluice.table.history.ms", "60000")}
		}},
		{"sluice.table.writers", check.Error, func(b *broken) []string { return []string{b.properties("sluice.table.writers", "any")} }},
		{"reader version 3", check.Error, func(b *broken) []string {
			return []string{action("protocol", map[string]any{"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": []string{"deletionVectors"}, "writerFeatures": []string{"deletionVectors"}})}
		}},
		{"the writer features are", check.Error, func(b *broken) []string {
			return []string{action("protocol", map[string]any{"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": []string{"rowTracking"}})}
		}},
		{"writer version 4", check.Error, func(b *broken) []string {
			return []string{action("protocol", map[string]any{"minReaderVersion": 1, "minWriterVersion": 4})}
		}},
		{"is partitioned by", check.Error, func(b *broken) []string {
			return []string{action("metaData", with(b.metaData(), "partitionColumns", []string{"partition"}))}
		}},
		{"is promised", check.Error, func(b *broken) []string {
			return []string{action("metaData", with(b.metaData(), "schemaString", `{"type":"struct","fields":[{"name":"topic","type":"long","nullable":true,"metadata":{}}]}`))}
		}},
		{"lacks the column headers", check.Error, func(b *broken) []string {
			return []string{action("metaData", with(b.metaData(), "schemaString", `{"type":"struct","fields":[{"name":"topic","type":"string","nullable":true,"metadata":{}}]}`))}
		}},
		{"the topic is deleted and", check.Error, func(b *broken) []string { return []string{b.properties("sluice.deleted", "true")} }},
		{"commitInfo.sluice cannot be read", check.Error, func(b *broken) []string { return []string{b.info("sluice", map[string]any{"producers": 5})} }},
		{"commitInfo.sluice is of the topic other", check.Error, func(b *broken) []string {
			return []string{b.info("sluice", map[string]any{"table": "other"})}
		}},
		{"the entry's records are at 130 to 129", check.Error, func(b *broken) []string {
			return []string{b.info("sluice", map[string]any{"table": b.metaData()["id"], "producers": [][]int64{{0, 7, 0, 130, 131, 130, 0, -1}}})}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := begin(t)
			b.commit(c.lines(b)...)
			b.says(c.severity, c.what)
		})
	}
}

// txn is a txn action of the topic.
func (b *broken) txn(what string, partition, version int) string {
	return action("txn", map[string]any{"appId": fmt.Sprintf("sluice.%s/%s/%d", what, b.metaData()["id"], partition), "version": version})
}

// properties is a metaData action with one property changed.
func (b *broken) properties(name string, value any) string {
	m := b.metaData()
	return action("metaData", with(m, "configuration", with(m["configuration"].(map[string]any), name, value)))
}

func TestAnEntryThatIsMissingOrGarbageIsSaid(t *testing.T) {
	b := begin(t)
	_, checkpoint := b.checkpoint()
	delete(b.objects, entryKey(b.tip()-1))
	if checkpoint >= b.tip() {
		t.Fatal("nothing behind the checkpoint")
	}
	b.says(check.Error, "the entry is missing")
	b.says(check.Error, "the newest version cannot be told")

	b = begin(t)
	b.objects[entryKey(b.tip())] = []byte("{\"add\":")
	b.says(check.Error, "the entry cannot be read")

	b = begin(t)
	key, _ := b.checkpoint()
	delete(b.objects, key)
	delete(b.objects, entryKey(0))
	b.says(check.Error, "has no complete checkpoint")
}

func TestACheckpointThatIsNotWhatTheEntriesSayIsSaid(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(s *delta.Snapshot)
	}{
		{"is missing", func(s *delta.Snapshot) { delete(s.Files, anyFile(s)) }},
		{"is not in the table", func(s *delta.Snapshot) { s.Files["data/more"] = &delta.Add{Path: "data/more"} }},
		{"size of", func(s *delta.Snapshot) { a := *s.Files[anyFile(s)]; a.Size++; s.Files[anyFile(s)] = &a }},
		{"tags of", func(s *delta.Snapshot) { a := *s.Files[anyFile(s)]; a.Tags = nil; s.Files[anyFile(s)] = &a }},
		{"statistics of", func(s *delta.Snapshot) {
			a := *s.Files[anyFile(s)]
			a.Stats = `{"numRecords":3}`
			s.Files[anyFile(s)] = &a
		}},
		{"is live and removed", func(s *delta.Snapshot) {
			s.Tombstones[anyFile(s)] = &delta.Remove{Path: anyFile(s), DeletionTimestamp: s.Timestamp * 2}
		}},
		{"txn x", func(s *delta.Snapshot) { s.Txns["x"] = delta.Txn{AppID: "x", Version: 1} }},
		{"metaData", func(s *delta.Snapshot) { s.Metadata.Name = "other" }},
		{"protocol", func(s *delta.Snapshot) { s.Protocol.WriterFeatures = []string{"sluice"} }},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := begin(t)
			store := b.store()
			log := delta.NewLog(store, "t", delta.Options{})
			snap, err := log.Open(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			snap = snap.Clone()
			c.change(snap)
			if err := log.WriteCheckpoint(t.Context(), snap, snap.Proved); err != nil {
				t.Fatal(err)
			}
			report, err := check.Table(t.Context(), store, "t", check.Options{Quick: true})
			if err != nil {
				t.Fatal(err)
			}
			finds(t, report, check.Error, c.what)
			finds(t, report, check.Error, "no snapshot of the producers' state")
		})
	}
}

func anyFile(s *delta.Snapshot) string {
	least := ""
	for name := range s.Files {
		if least == "" || name < least {
			least = name
		}
	}
	return least
}

func TestACheckpointOrHintThatCannotBeUsedIsSaid(t *testing.T) {
	b := begin(t)
	key, version := b.checkpoint()
	b.objects[key] = b.objects[key][:100]
	b.says(check.Error, "the checkpoint cannot be read")

	b = begin(t)
	b.objects["t/_delta_log/_last_checkpoint"] = []byte("nonsense")
	b.says(check.Error, "_last_checkpoint is not JSON")
	b.objects["t/_delta_log/_last_checkpoint"] = []byte(`{"version":7}`)
	b.says(check.Warning, "names a checkpoint that is not there")
	b.objects["t/_delta_log/_last_checkpoint"] = fmt.Appendf(nil, `{"version":%d,"sizeInBytes":3}`, version)
	b.says(check.Warning, "_last_checkpoint says that the checkpoint has 3 bytes")
	delete(b.objects, "t/_delta_log/_last_checkpoint")
	b.says(check.Info, "no _last_checkpoint")

	b = begin(t)
	b.objects[fmt.Sprintf("t/_delta_log/%020d.checkpoint.0000000001.0000000002.parquet", b.tip())] = b.objects[key]
	b.says(check.Warning, "has 1 of 2 parts")
}
