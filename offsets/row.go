package offsets

import (
	"time"

	"github.com/google/uuid"
)

// row is a row of the table: an offset of a group, or a group's membership. The
// newest of a key (highest sequence) counts; older ones are there until the
// table rewrites itself.
type row struct {
	Sequence        int64   `parquet:"sequence"`
	GroupID         string  `parquet:"group_id"`
	Kind            string  `parquet:"kind"` // kindOffset or kindMembership
	Topic           *string `parquet:"topic,optional"`
	TopicID         *string `parquet:"topic_id,optional"`
	Partition       *int32  `parquet:"partition,optional"`
	Offset          *int64  `parquet:"offset,optional"`
	LeaderEpoch     *int32  `parquet:"leader_epoch,optional"`
	Metadata        *string `parquet:"metadata,optional"`
	CommitTimestamp int64   `parquet:"commit_timestamp,timestamp(microsecond:utc)"`
	ExpireTimestamp *int64  `parquet:"expire_timestamp,optional,timestamp(microsecond:utc)"`
	TableVersion    *int64  `parquet:"table_version,optional"`
	Membership      *string `parquet:"membership,optional"` // JSON, see group.Record
	Deleted         bool    `parquet:"deleted"`             // the key is gone
}

const (
	kindOffset     = "offset"
	kindMembership = "membership"
)

const schema = `{"type":"struct","fields":[` +
	`{"name":"sequence","type":"long","nullable":true,"metadata":{}},` +
	`{"name":"group_id","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"kind","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"topic","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"topic_id","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"partition","type":"integer","nullable":true,"metadata":{}},` +
	`{"name":"offset","type":"long","nullable":true,"metadata":{}},` +
	`{"name":"leader_epoch","type":"integer","nullable":true,"metadata":{}},` +
	`{"name":"metadata","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"commit_timestamp","type":"timestamp","nullable":true,"metadata":{}},` +
	`{"name":"expire_timestamp","type":"timestamp","nullable":true,"metadata":{}},` +
	`{"name":"table_version","type":"long","nullable":true,"metadata":{}},` +
	`{"name":"membership","type":"string","nullable":true,"metadata":{}},` +
	`{"name":"deleted","type":"boolean","nullable":true,"metadata":{}}]}`

// key is what a row is the newest of.
type key struct {
	group, topic string // topic is empty for a membership
	partition    int32
}

func (r *row) key() key {
	k := key{group: r.GroupID}
	if r.Kind == kindOffset && r.Topic != nil && r.Partition != nil {
		k.topic, k.partition = *r.Topic, *r.Partition
	}
	return k
}

func offsetRow(group string, o Offset) row {
	r := row{
		GroupID: group, Kind: kindOffset, Topic: &o.Topic, Partition: &o.Partition, Offset: &o.Offset,
		LeaderEpoch: &o.LeaderEpoch, Metadata: &o.Metadata, TableVersion: &o.TableVersion,
		CommitTimestamp: o.Committed.UnixMicro(),
	}
	id := uuid.UUID(o.TopicID).String()
	r.TopicID = &id
	if !o.Expires.IsZero() {
		expires := o.Expires.UnixMicro()
		r.ExpireTimestamp = &expires
	}
	return r
}

// offset is the row as an Offset; missing columns (another writer's) are defaults.
func (r *row) offset() Offset {
	o := Offset{
		LeaderEpoch: value(r.LeaderEpoch, -1), TableVersion: value(r.TableVersion, -1),
		Topic: value(r.Topic, ""), Partition: value(r.Partition, 0), Offset: value(r.Offset, -1),
		Metadata: value(r.Metadata, ""), Committed: time.UnixMicro(r.CommitTimestamp),
	}
	if id, err := uuid.Parse(value(r.TopicID, "")); err == nil {
		o.TopicID = id
	}
	if r.ExpireTimestamp != nil {
		o.Expires = time.UnixMicro(*r.ExpireTimestamp)
	}
	return o
}

func value[T any](p *T, missing T) T {
	if p == nil {
		return missing
	}
	return *p
}

// gone is the row that says that a key is no more.
func gone(k key) row {
	r := row{GroupID: k.group, Kind: kindMembership, CommitTimestamp: time.Now().UnixMicro(), Deleted: true}
	if k.topic != "" {
		r.Kind, r.Topic, r.Partition = kindOffset, &k.topic, &k.partition
	}
	return r
}
