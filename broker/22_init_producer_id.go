package broker

import (
	"context"
	"crypto/rand"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId, versions 0 to 5, for idempotent producers: each request gets a
// new producer id, also one that gives its old one (KIP-360 concerns transactional
// producers only). Ids are random 62-bit numbers, which needs no one to ask and hands
// none out twice.
//
// Transactions are not served. A transactional id is answered with
// TRANSACTIONAL_ID_AUTHORIZATION_FAILED, for it is the one error that makes all
// clients stop with a message at once, where others make them try for ever.
func (b *Broker) initProducerID(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID != nil:
		b.warnings.warn("transactions are not supported: transactional producer refused", "transactional_id", *req.TransactionalID, "client", r.clientHost)
		resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
	case (req.ProducerID < 0) != (req.ProducerEpoch < 0):
		resp.ErrorCode = kerr.InvalidRequest.Code // as Kafka: both or none
	default:
		resp.ProducerID, resp.ProducerEpoch = newProducerID(), 0
	}
	return resp, nil
}

func newProducerID() int64 {
	var random [8]byte
	rand.Read(random[:]) // never fails
	return int64(binary.BigEndian.Uint64(random[:]) >> 2)
}
