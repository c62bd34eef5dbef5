package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteGroups, versions 0 to 3: forgets groups that have no members, with the
// offsets that they have committed, in one commit.
func (b *Broker) deleteGroups(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteGroupsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	ctx, cancel := within(ctx, 0)
	defer cancel()

	var names []string
	seen := make(map[string]bool, len(req.Groups))
	for _, name := range req.Groups {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, 0, len(names))
	for i, err := range b.groups.Manager().Delete(ctx, names...) {
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group = names[i]
		g.ErrorCode, g.ErrorMessage = errorCode(err), errorMessage(err)
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}
