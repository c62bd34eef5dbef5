package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups, versions 0 to 6: members and assignments of groups. One that is
// not known is Dead, from version 6 on also GROUP_ID_NOT_FOUND. One that is named twice
// is described once: an answer may be ten thousand times as large as what asks for it.
func (b *Broker) describeGroups(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeGroupsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	manager, seen := b.groups.Manager(), map[string]bool{}
	names := slices.DeleteFunc(req.Groups, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
	n := groupAnswer * len(names)
	for _, name := range names {
		members, bytes := manager.Size(name)
		n += 2 * (memberAnswer*members + bytes) // copied, and encoded
	}
	if err := b.expect(ctx, r, n); err != nil {
		return nil, err
	}
	defer b.turn(r)()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, 0, len(names))
	for _, name := range names {
		g := manager.Describe(r.version, name)
		if req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
			g.AuthorizedOperations = groupOperations
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}
