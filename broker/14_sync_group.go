package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup, versions 0 to 5: answered with the member's assignment when the
// generation is committed with all assignments, see group.Manager.Sync.
func (b *Broker) syncGroup(ctx context.Context, r *request) (kmsg.Response, error) {
	r.held.release() // as in joinGroup
	return b.groups.Manager().Sync(ctx, r.body.(*kmsg.SyncGroupRequest)), nil
}
