package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat, versions 0 to 4: a sign of life of a group's member, and how it
// learns of a rebalance (REBALANCE_IN_PROGRESS).
func (b *Broker) heartbeat(_ context.Context, r *request) (kmsg.Response, error) {
	return b.groups.Manager().Heartbeat(r.body.(*kmsg.HeartbeatRequest)), nil
}
