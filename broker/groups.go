package broker

import (
	"context"
	"fmt"

	"sluice/broker/group"
	"sluice/offsets"
)

// NewGroups makes the manager of the groups whose memberships and offsets
// committed holds: it continues what was there and keeps what changes.
// config.Keep is set here. An error wraps group.ErrRecord: a membership that this
// broker does not understand.
func NewGroups(config group.Config, committed *offsets.Offsets) (*group.Manager, error) {
	config.Keep = func(ctx context.Context, r group.Record) error {
		if r.Deleted {
			return offsetsCommitted(ctx, committed.DeleteGroup(r.Group))
		}
		return offsetsCommitted(ctx, committed.KeepGroup(r.Group, r.Encode()))
	}
	memberships := committed.Memberships()
	records := make([]group.Record, 0, len(memberships))
	for name, encoded := range memberships {
		r, err := group.Decode(encoded)
		if err != nil {
			return nil, fmt.Errorf("membership of group %s: %w", name, err)
		}
		records = append(records, r)
	}
	groups := group.New(config)
	groups.Load(records)
	groups.Adopt(committed.Groups()...)
	return groups, nil
}
