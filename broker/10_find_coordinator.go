package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of coordinators in FindCoordinator v1+.
const (
	coordinatorGroup       = 0
	coordinatorTransaction = 1
	coordinatorShare       = 2 // v6+, KIP-932
)

// FindCoordinator, versions 0 to 6; from 4 on for several keys at once (KIP-699).
// This broker coordinates all groups. Transactions and share groups are not
// served. A transactional id is not authorized, whoever uses it: the one error
// that librdkafka and Java both take for final, while others are retried for ever.
func (b *Broker) findCoordinator(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.FindCoordinatorRequest)
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)

	err := checkCoordinator(req.CoordinatorType, r.version)
	if err == nil {
		b.ensureOffsetsTopic()
	}
	node, host, port := b.config.NodeID, r.listener.Host, r.listener.Port
	if err != nil {
		node, host, port = -1, "", -1
	}
	if r.version < 4 {
		resp.ErrorCode, resp.ErrorMessage = errorCode(err), errorMessage(err)
		resp.NodeID, resp.Host, resp.Port = node, host, port
		return resp, nil
	}
	resp.Coordinators = make([]kmsg.FindCoordinatorResponseCoordinator, 0, len(req.CoordinatorKeys))
	for _, key := range req.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Host, c.Port = key, node, host, port
		c.ErrorCode, c.ErrorMessage = errorCode(err), errorMessage(err)
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp, nil
}

func checkCoordinator(kind int8, version int16) error {
	switch {
	case kind == coordinatorGroup:
		return nil
	case kind == coordinatorTransaction:
		return refuse(kerr.TransactionalIDAuthorizationFailed, "Transactions are not supported by this broker.")
	case kind == coordinatorShare && version >= 6:
		return refuse(kerr.InvalidRequest, "Share groups are not supported by this broker.")
	}
	return refuse(kerr.InvalidRequest, "Unknown coordinator type %d", kind)
}
