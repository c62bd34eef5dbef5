package broker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/protocol/record"
)

// recordErrors are the records that made a batch invalid, as Produce v8 and later
// name them (KIP-467), and the text for the batch as a whole; nil if err is about
// no record. The words are those of Kafka (LogValidator.processRecordErrors and
// validateKey), which people search for.
func recordErrors(err error, topic string, partition int32) ([]kmsg.ProduceResponseTopicPartitionErrorRecord, *string) {
	refused, ok := errors.AsType[*record.RecordErrors](err)
	if !ok {
		one, ok := errors.AsType[*record.RecordError](err) // a malformed record
		if !ok {
			return nil, nil
		}
		refused = &record.RecordErrors{Named: []record.RecordError{*one}, Total: 1}
	}
	keyless := fmt.Sprintf("Compacted topic cannot accept message without key in topic partition %s-%d.", topic, partition)
	named := make([]kmsg.ProduceResponseTopicPartitionErrorRecord, len(refused.Named))
	for i, r := range refused.Named {
		named[i] = kmsg.NewProduceResponseTopicPartitionErrorRecord()
		named[i].RelativeOffset = int32(r.Index)
		if named[i].ErrorMessage = errorMessage(r.Err); errors.Is(r.Err, record.ErrNoKey) {
			named[i].ErrorMessage = &keyless
		}
	}
	whole := "One or more records have been rejected due to invalid timestamp"
	if !errors.Is(err, record.ErrTimestamp) {
		var first []string
		for _, r := range named[:min(len(named), 3)] {
			first = append(first, fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", r.RelativeOffset, *r.ErrorMessage))
		}
		whole = fmt.Sprintf("One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: [%s]",
			refused.Total, strings.Join(first, ", "))
	}
	return named, &whole
}
