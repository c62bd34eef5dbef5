package record

import "fmt"

// A Codec is a compression codec, numbered as in a batch's attributes.
type Codec int8

// The codecs of the record batch format (Kafka protocol, "Record Batch"; zstd
// since KIP-110).
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// String returns the codec's name as in the topic config compression.type,
// but "none" for what the config calls "uncompressed".
func (c Codec) String() string {
	if !c.Known() {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return codecNames[c]
}

// Known reports whether c is one of the five codecs.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// A TimestampType says whose clock a batch's timestamps are of. Its numbers
// are those of the timestampType column and of Spark's Kafka source.
type TimestampType int8

// CreateTime timestamps are the producer's, record by record; LogAppendTime is
// the broker's, one for the whole batch.
const (
	CreateTime    TimestampType = 0
	LogAppendTime TimestampType = 1
)

// Attributes are a batch's flags.
type Attributes int16

// Bits of the attributes. Those above are unused and ignored, as Kafka does.
const (
	codecMask        Attributes = 0x07
	logAppendTimeBit Attributes = 1 << 3
	transactionalBit Attributes = 1 << 4
	controlBit       Attributes = 1 << 5
)

// Codec returns the codec of the records; it may not be Known.
func (a Attributes) Codec() Codec { return Codec(a & codecMask) }

// TimestampType returns whose timestamps the batch carries.
func (a Attributes) TimestampType() TimestampType {
	if a&logAppendTimeBit != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// Transactional reports whether the records belong to a transaction.
func (a Attributes) Transactional() bool { return a&transactionalBit != 0 }

// Control reports whether the batch holds a control record (a transaction
// marker), which consumers do not see.
func (a Attributes) Control() bool { return a&controlBit != 0 }
