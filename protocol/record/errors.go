package record

import (
	"errors"
	"fmt"
)

// An Error is a reason to refuse a batch. Each is a sentinel: test with
// errors.Is, or take the Kafka error code with errors.AsType.
type Error struct {
	Code int16 // Kafka protocol error code
	text string
}

func (e *Error) Error() string { return e.text }

// The decisions a caller makes about a batch. What is wrapped around them says
// which field or record is at fault.
var (
	// ErrCorrupt: the bytes are not what the producer wrote (CORRUPT_MESSAGE).
	// Clients retry it.
	ErrCorrupt = &Error{2, "corrupt batch"}
	// ErrInvalid: the bytes arrived intact but break a rule of the record batch
	// format or of producing (INVALID_RECORD). Clients do not retry it.
	ErrInvalid = &Error{87, "invalid record"}
	// ErrOldMagic: a message set of magic 0 or 1, from before Kafka 0.11
	// (INVALID_RECORD, as Kafka 4 answers a Produce v3+ that carries one).
	ErrOldMagic = &Error{87, "message format v0 or v1 (magic 0 or 1) is not supported"}
	// ErrTooLarge: the batch, or what it decompresses to, exceeds its limit
	// (MESSAGE_TOO_LARGE). Clients split the batch and send the parts.
	ErrTooLarge = &Error{10, "batch too large"}
	// ErrCodec: no such compression codec, or one that the request's version may
	// not use (UNSUPPORTED_COMPRESSION_TYPE).
	ErrCodec = &Error{76, "unsupported compression codec"}
	// ErrTimestamp: a timestamp that the topic or the table refuses
	// (INVALID_TIMESTAMP).
	ErrTimestamp = &Error{32, "invalid timestamp"}
	// ErrNoKey: a record without a key in a compacted topic (INVALID_RECORD).
	ErrNoKey = &Error{87, "a compacted topic takes no record without a key"}
	// ErrTruncated: the bytes end inside a batch. Next returns it; a reader of a
	// fetch response expects it at the end, Check reports ErrInvalid instead.
	ErrTruncated = &Error{87, "truncated batch"}
)

// A RecordError says which record of a batch makes it invalid.
type RecordError struct {
	Index int // of the record in its batch
	Err   error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index, e.Err) }

// Unwrap returns the reason.
func (e *RecordError) Unwrap() error { return e.Err }

// RecordErrors are all the records that make a batch invalid. Produce v8 and
// later answer them as record_errors (KIP-467), by which a producer fails these
// records for what they are, and the others of the batch for their company.
type RecordErrors struct {
	// Named are the first of them in order, one at least, maxRecordErrors at most.
	Named []RecordError
	// Total is how many there are.
	Total int
}

// maxRecordErrors bounds what one batch can make an answer hold: a record takes
// seven bytes, and fewer compressed.
const maxRecordErrors = 1000

func (e *RecordErrors) Error() string {
	if e.Total == 1 {
		return e.Named[0].Error()
	}
	return fmt.Sprintf("%v, and %d records more", &e.Named[0], e.Total-1)
}

// Unwrap returns the error that names the batch's: as in Kafka
// (LogValidator.processRecordErrors) a timestamp that is refused comes before all else.
func (e *RecordErrors) Unwrap() error {
	for i := range e.Named {
		if errors.Is(e.Named[i].Err, ErrTimestamp) {
			return &e.Named[i]
		}
	}
	return &e.Named[0]
}

// add counts a record and names it if there is room. e may be nil.
func (e *RecordErrors) add(index int32, err error) *RecordErrors {
	if e == nil {
		e = &RecordErrors{}
	}
	if e.Total++; len(e.Named) < maxRecordErrors {
		e.Named = append(e.Named, RecordError{int(index), err})
	}
	return e
}

// invalid wraps ErrInvalid with what is wrong.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// corrupt wraps ErrCorrupt with what is wrong.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}
