package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups, versions 0 to 5: all groups, also those that are known only by the
// offsets that they have committed (Empty, protocol type ""). From version 4 on
// filtered by state, from 5 on by type, of which there is one, "classic".
func (b *Broker) listGroups(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListGroupsRequest)
	resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
	if err := b.expect(ctx, r, groupAnswer*b.groups.Manager().Count()); err != nil {
		return nil, err
	}
	defer b.turn(r)()
	resp.Groups = b.groups.Manager().List(req.StatesFilter, req.TypesFilter)
	return resp, nil
}
