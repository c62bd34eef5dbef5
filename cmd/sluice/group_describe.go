package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tagTableVersion is the tagged field by which Sluice adds to each partition of
// an OffsetFetch response (v8+) the version of the topic's table when the offset
// was committed: 8 bytes, big endian. Only a group that has the tag in the request
// gets it. Other brokers skip tagged fields that they do not know (KIP-482); Apache
// Kafka's own tags count up from 0.
const tagTableVersion = 10000

// groupDescription is what `group describe` tells of one group.
type groupDescription struct {
	Group       string        `json:"group"`
	State       string        `json:"state"`
	Protocol    string        `json:"protocol"` // how partitions are assigned: range, cooperative-sticky
	Coordinator int32         `json:"coordinator"`
	Members     int           `json:"members"`
	Partitions  []groupOffset `json:"partitions"`
}

// groupOffset is one partition that a group has committed an offset for, or that
// one of its members is assigned to.
type groupOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"` // -1: nothing committed
	End       int64  `json:"end"`       // -1: not known, such as for a deleted topic
	Lag       *int64 `json:"lag"`       // null if either is not known
	Member    string `json:"member,omitempty"`
	Client    string `json:"client,omitempty"` // client id and host of the member
	// TableVersion is the newest version of the topic's table when the offset was
	// committed; null if the broker does not say.
	TableVersion *int64 `json:"table_version"`
	Metadata     string `json:"metadata,omitempty"`
}

func newGroupDescribe() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "describe GROUP...",
		Short: "Show members, committed offsets, lag and table versions of groups",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, groups []string) error {
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				described := []groupDescription{}
				var errs []error
				for _, group := range groups {
					d, err := inspectGroup(ctx, c, group)
					if err != nil {
						errs = append(errs, err)
						continue
					}
					described = append(described, d)
				}
				return errors.Join(append(errs, reportGroups(cmd.OutOrStdout(), asJSON, described))...)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func inspectGroup(ctx context.Context, c *client, group string) (groupDescription, error) {
	described, err := c.describeGroup(ctx, group)
	if err != nil {
		return groupDescription{}, err
	}
	offsets, err := c.committed(ctx, group)
	if err != nil {
		return groupDescription{}, err
	}
	// DescribeGroups answers for a group that it does not know with the state
	// Dead and no error, up to v5 (KIP-1043).
	if described.State == "Dead" && len(offsets) == 0 {
		return groupDescription{}, noSuchGroup(group)
	}
	offsets = assign(offsets, described.Members)
	if err := c.fillEnds(ctx, offsets); err != nil {
		return groupDescription{}, err
	}
	return groupDescription{
		Group: group, State: described.State, Protocol: described.Protocol,
		Coordinator: described.Coordinator.NodeID, Members: len(described.Members),
		Partitions: offsets,
	}, nil
}

// committed asks for all committed offsets of a group, sorted by topic and partition.
func (c *client) committed(ctx context.Context, group string) ([]groupOffset, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	ask := kmsg.NewOffsetFetchRequestGroup() // the client makes it another for brokers below v8
	ask.Group = group
	ask.UnknownTags.Set(tagTableVersion, nil)
	req.Groups = append(req.Groups, ask)
	resp, err := req.RequestWith(ctx, c.Client)
	if err != nil {
		return nil, err
	}
	if err := groupError(group, kerr.ErrorForCode(resp.ErrorCode), ""); err != nil {
		return nil, err
	}
	offsets := []groupOffset{}
	for _, g := range resp.Groups {
		if err := groupError(group, kerr.ErrorForCode(g.ErrorCode), ""); err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				o := groupOffset{Topic: t.Topic, Partition: p.Partition, Committed: p.Offset, End: -1,
					TableVersion: tableVersion(&p.UnknownTags)}
				if p.Metadata != nil {
					o.Metadata = *p.Metadata
				}
				offsets = append(offsets, o)
			}
		}
	}
	slices.SortFunc(offsets, byPartition)
	return offsets, nil
}

// tableVersion finds Sluice's tagged field, nil if there is none.
func tableVersion(tags *kmsg.Tags) *int64 {
	var version *int64
	tags.Each(func(tag uint32, value []byte) {
		if tag == tagTableVersion && len(value) == 8 {
			if v := int64(binary.BigEndian.Uint64(value)); v >= 0 {
				version = &v
			}
		}
	})
	return version
}

// assign notes which member consumes which partition, adding those without a
// committed offset.
func assign(offsets []groupOffset, members []kadm.DescribedGroupMember) []groupOffset {
	for _, m := range members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok {
			continue // Connect workers, among others, share out things that are no partitions
		}
		for _, t := range assigned.Topics {
			for _, partition := range t.Partitions {
				o := groupOffset{Topic: t.Topic, Partition: partition, Committed: -1, End: -1}
				i, found := slices.BinarySearchFunc(offsets, o, byPartition)
				if !found {
					offsets = slices.Insert(offsets, i, o)
				}
				offsets[i].Member = m.MemberID
				offsets[i].Client = m.ClientID + m.ClientHost // the host begins with a slash, as Java prints it
			}
		}
	}
	return offsets
}

func byPartition(a, b groupOffset) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// fillEnds adds the end of each partition and the lag behind it.
func (c *client) fillEnds(ctx context.Context, offsets []groupOffset) error {
	topics := topicsOf(offsets)
	if len(topics) == 0 {
		return nil // no topics would mean all topics
	}
	ends, err := c.admin.ListEndOffsets(ctx, topics...)
	if err != nil && len(ends) == 0 {
		return err
	}
	for i := range offsets {
		o := &offsets[i]
		o.End = offsetOf(ends, o.Topic, o.Partition)
		if o.Committed >= 0 && o.End >= 0 {
			// An offset beyond the end is a group that saw a topic of this name
			// before it was made anew; a negative lag would hide that of others in a sum.
			lag := max(0, o.End-o.Committed)
			o.Lag = &lag
		}
	}
	return nil
}

// topicsOf lists the topics of sorted offsets.
func topicsOf(offsets []groupOffset) []string {
	var topics []string
	for _, o := range offsets {
		if len(topics) == 0 || topics[len(topics)-1] != o.Topic {
			topics = append(topics, o.Topic)
		}
	}
	return topics
}

func reportGroups(w io.Writer, asJSON bool, groups []groupDescription) error {
	if asJSON {
		return writeJSON(w, groups)
	}
	for i, group := range groups {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := group.write(w); err != nil {
			return err
		}
	}
	return nil
}

func (d groupDescription) write(w io.Writer) error {
	fmt.Fprintf(w, "group    %s\nstate    %s\nmembers  %d\n", d.Group, d.State, d.Members)
	if d.Protocol != "" {
		fmt.Fprintf(w, "assignor %s\n", d.Protocol)
	}
	if len(d.Partitions) == 0 {
		_, err := fmt.Fprintln(w, "\nno committed offsets")
		return err
	}
	var total int64
	g := newGrid("TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "TABLE-VERSION", "CLIENT", "MEMBER")
	for _, p := range d.Partitions {
		if p.Lag != nil {
			total += *p.Lag
		}
		g.add(p.Topic, strconv.Itoa(int(p.Partition)), signed(p.Committed), signed(p.End),
			optional(p.Lag), optional(p.TableVersion), p.Client, p.Member)
	}
	fmt.Fprintf(w, "lag      %d\n\n", total)
	return g.write(w)
}

// optional prints a number that may be missing.
func optional(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}
