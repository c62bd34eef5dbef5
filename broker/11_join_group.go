package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/broker/group"
)

// JoinGroup, versions 0 to 9: answered when the group's join phase has ended,
// see group.Manager.Join. Its connection waits with it, as clients expect.
func (b *Broker) joinGroup(ctx context.Context, r *request) (kmsg.Response, error) {
	r.held.release() // the group counts what it keeps (group.Config.MaxTotalBytes), for as long as it waits
	// Kafka writes a host as Java's InetAddress does, with an empty name before the slash.
	client := group.Client{ID: r.clientID, Host: "/" + r.clientHost}
	return b.groups.Manager().Join(ctx, client, r.body.(*kmsg.JoinGroupRequest)), nil
}
