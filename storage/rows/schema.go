package rows

// Physical types, repetitions, encodings, codecs and page types [F parquet.thrift].
const (
	typeInt32     = 1
	typeInt64     = 2
	typeInt96     = 3
	typeByteArray = 6
	typeFixed     = 7

	required = 0
	optional = 1
	repeated = 2

	encodingPlain           = 0
	encodingPlainDictionary = 2
	encodingRLE             = 3
	encodingBitPacked       = 4
	encodingDelta           = 5
	encodingDeltaLength     = 6
	encodingDeltaByteArray  = 7
	encodingRLEDictionary   = 8
	encodingByteStreamSplit = 9

	codecNone   = 0
	codecSnappy = 1
	codecGzip   = 2
	codecBrotli = 4
	codecZstd   = 6
	codecLZ4Raw = 7

	pageData       = 0
	pageIndex      = 1
	pageDictionary = 2
	pageDataV2     = 3

	convertedUTF8            = 0
	convertedList            = 3
	convertedTimestampMillis = 9
	convertedTimestampMicros = 10
)

// leaf is a column of our files, in the order of the schema.
type leaf int

const (
	leafTopic leaf = iota
	leafPartition
	leafOffset
	leafTimestamp
	leafTimestampType
	leafKey
	leafValue
	leafHeaderKey
	leafHeaderValue
	numLeaves
)

// leafSpec is what the footer says of a leaf. The narrow columns are
// REQUIRED, as they are never null; the shape of headers is the one that Spark
// writes, which every engine knows best.
type leafSpec struct {
	path    []string
	typ     int32
	maxDef  int // definition level of a value that is present
	maxRep  int
	defBits int
	// encoding of the values; dictionary says that a dictionary page precedes them.
	encoding   int32
	dictionary bool
}

var leaves = [numLeaves]leafSpec{
	leafTopic:         {path: []string{"topic"}, typ: typeByteArray, encoding: encodingRLEDictionary, dictionary: true},
	leafPartition:     {path: []string{"partition"}, typ: typeInt32, encoding: encodingRLEDictionary, dictionary: true},
	leafOffset:        {path: []string{"offset"}, typ: typeInt64, encoding: encodingDelta},
	leafTimestamp:     {path: []string{"timestamp"}, typ: typeInt64, maxDef: 1, defBits: 1, encoding: encodingDelta},
	leafTimestampType: {path: []string{"timestampType"}, typ: typeInt32, encoding: encodingRLEDictionary, dictionary: true},
	leafKey:           {path: []string{"key"}, typ: typeByteArray, maxDef: 1, defBits: 1, encoding: encodingPlain},
	leafValue:         {path: []string{"value"}, typ: typeByteArray, maxDef: 1, defBits: 1, encoding: encodingPlain},
	leafHeaderKey:     {path: []string{"headers", "list", "element", "key"}, typ: typeByteArray, maxDef: 4, maxRep: 1, defBits: 3, encoding: encodingPlain},
	leafHeaderValue:   {path: []string{"headers", "list", "element", "value"}, typ: typeByteArray, maxDef: 4, maxRep: 1, defBits: 3, encoding: encodingPlain},
}

// Definition levels of the header leaves: headers is there but empty; an
// element is there but its value is null; the value is there.
const (
	defNoHeaders  = 1
	defNullHeader = 3
	defHeader     = 4
)

// writeSchema writes the list of schema elements, depth first, as field 2 of
// the footer [F SchemaElement].
func writeSchema(w *thriftWriter) {
	w.list(2, thriftStruct, 13)
	group := func(name string, repetition int32, children int32, isList bool) {
		w.open()
		if repetition >= 0 { // the root has none
			w.i32(3, repetition)
		}
		w.string(4, name)
		w.i32(5, children)
		if isList {
			w.i32(6, convertedList)
			w.structure(10) // LogicalType, a union
			w.structure(3)  // LIST
			w.close()
			w.close()
		}
		w.close()
	}
	column := func(name string, typ, repetition int32) {
		w.open()
		w.i32(1, typ)
		w.i32(3, repetition)
		w.string(4, name)
	}
	str := func(name string, repetition int32) {
		column(name, typeByteArray, repetition)
		w.i32(6, convertedUTF8)
		w.structure(10)
		w.structure(1) // STRING
		w.close()
		w.close()
		w.close()
	}
	plain := func(name string, typ, repetition int32) {
		column(name, typ, repetition)
		w.close()
	}

	group("schema", -1, 8, false)
	str("topic", required)
	plain("partition", typeInt32, required)
	plain("offset", typeInt64, required)
	column("timestamp", typeInt64, optional)
	w.i32(6, convertedTimestampMicros)
	w.structure(10)
	w.structure(8) // TIMESTAMP
	w.boolean(1, true)
	w.structure(2) // its unit
	w.structure(2) // MICROS
	w.close()
	w.close()
	w.close()
	w.close()
	w.close()
	plain("timestampType", typeInt32, required)
	plain("key", typeByteArray, optional)
	plain("value", typeByteArray, optional)
	group("headers", optional, 1, true)
	group("list", repeated, 1, false)
	group("element", optional, 2, false)
	str("key", optional)
	plain("value", typeByteArray, optional)
}
