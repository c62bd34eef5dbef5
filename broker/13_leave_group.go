package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveGroup, versions 0 to 5; from 3 on of several members, which may be named
// by their instance ids (KIP-345).
func (b *Broker) leaveGroup(ctx context.Context, r *request) (kmsg.Response, error) {
	return b.groups.Manager().Leave(ctx, r.body.(*kmsg.LeaveGroupRequest)), nil
}
