package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newGroup() *cobra.Command {
	return brokersFlag(newNoun("group", "List, describe, reset and delete consumer groups",
		newGroupList(), newGroupDescribe(), newGroupReset(), newGroupDelete()))
}

// groupLine is a group in a list.
type groupLine struct {
	Group       string `json:"group"`
	State       string `json:"state"`
	Protocol    string `json:"protocol"`
	Coordinator int32  `json:"coordinator"`
}

func newGroupList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List consumer groups",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				listed, err := c.admin.ListGroups(ctx)
				if err != nil {
					return err
				}
				groups := []groupLine{}
				for _, g := range listed.Sorted() {
					groups = append(groups, groupLine{g.Group, g.State, g.ProtocolType, g.Coordinator})
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), groups)
				}
				g := newGrid("GROUP", "STATE", "PROTOCOL")
				for _, line := range groups {
					g.add(line.Group, line.State, line.Protocol)
				}
				return g.write(cmd.OutOrStdout())
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newGroupDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete GROUP...",
		Short: "Delete consumer groups and their committed offsets",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, groups []string) error {
			return withAdmin(cmd, func(ctx context.Context, c *client) error {
				answers, err := c.admin.DeleteGroups(ctx, groups...)
				if err != nil && len(answers) == 0 {
					return err
				}
				var errs []error
				for _, answer := range answers.Sorted() {
					err := groupError(answer.Group, answer.Err, answer.ErrMessage)
					if err == nil {
						_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted group %s\n", answer.Group)
					}
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
		},
	}
}

// groupError is the error of one group in an answer, in the user's words.
func groupError(group string, err error, message string) error {
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return noSuchGroup(group)
	case errors.Is(err, kerr.NonEmptyGroup):
		return hasMembers(group, "has members")
	}
	return kafkaError("group "+group, err, message)
}

// errNoGroup marks a group that the broker does not know.
var errNoGroup = errors.New("does not exist")

func noSuchGroup(group string) error {
	return advise(fmt.Errorf("group %s %w", group, errNoGroup), "'sluice group list' shows the groups.")
}

func hasMembers(group, how string) error {
	return advise(fmt.Errorf("group %s %s", group, how),
		"Stop its consumers, or wait until their session timeout has passed; 'sluice group describe %s' shows them.", group)
}

// describeGroup asks for state and members. A group that exists only by its
// committed offsets has the state Empty.
func (c *client) describeGroup(ctx context.Context, group string) (kadm.DescribedGroup, error) {
	answers, err := c.admin.DescribeGroups(ctx, group)
	if err != nil && len(answers) == 0 {
		return kadm.DescribedGroup{}, err
	}
	described := answers[group]
	if err := groupError(group, described.Err, described.ErrMessage); err != nil {
		return described, err
	}
	return described, nil
}
