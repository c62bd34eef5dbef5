package group

import (
	"context"
	"log/slog"
	"time"
)

// Kafka's defaults and our bounds, for the zero values of Config.
const (
	defaultMinSessionTimeout = 6 * time.Second  // group.min.session.timeout.ms
	defaultMaxSessionTimeout = 30 * time.Minute // group.max.session.timeout.ms
	defaultMaxSize           = 10_000           // members; Kafka has no bound
	defaultMaxBytes          = 8 << 20          // one record must fit a row; Kafka allows 1 MB
	defaultMaxGroups         = 100_000
	defaultMaxTotalBytes     = 512 << 20
	defaultKeepTimeout       = 10 * time.Second // Kafka's offsets.commit.timeout.ms is 5 s
)

// newMemberJoinTimeout is how long a member that was given no id yet is kept in
// the join phase: it cannot heartbeat, and its connection may be gone
// (group.coordinator's classicGroupNewMemberJoinTimeoutMs).
const newMemberJoinTimeout = 5 * time.Minute

// overhead is what a member, or an id that was given out, counts for
// Config.MaxTotalBytes besides what its client sent: structs, map entries, a timer.
const overhead = 1 << 10

// maxName bounds each name that one client sends and others are shown: member,
// instance and group ids, protocol names. Old versions of the protocol cannot say
// more than 32 KiB, so a longer one would break the answers to others.
const maxName = 4096

// Config are the settings of a Manager. A zero value means its default, except
// that InitialRebalanceDelay 0 means no delay.
type Config struct {
	// MinSessionTimeout and MaxSessionTimeout bound the session timeouts that
	// members may ask for; INVALID_SESSION_TIMEOUT otherwise. Default 6 s to 30 min.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// InitialRebalanceDelay is how long an empty group waits for more members
	// before its first generation (group.initial.rebalance.delay.ms; Kafka: 3 s).
	InitialRebalanceDelay time.Duration
	// MaxSize bounds the members of one group, and apart from them the ids that
	// were given out and not used yet (GROUP_MAX_SIZE_REACHED). Default 10,000.
	MaxSize int
	// MaxBytes bounds the subscriptions of one group, and apart from them its
	// assignments. Default 8 MiB.
	MaxBytes int
	// MaxGroups bounds the groups; beyond it new ones are refused with
	// POLICY_VIOLATION. What Load and Adopt bring is always taken. Default 100,000.
	MaxGroups int
	// MaxTotalBytes bounds what the members of all groups take in memory; beyond it
	// joins and assignments that need more are refused with POLICY_VIOLATION.
	// Default 512 MiB.
	MaxTotalBytes int

	// Keep makes a record durable and returns when it is; it may block. Calls for
	// one group come one after the other, in order; different groups run at the
	// same time, so Keep must be safe for concurrent use. ctx ends at Close only.
	// Record.Deleted asks to forget the group's committed offsets in the same commit.
	//
	// The members of a generation are not answered before its record is kept. An
	// error sends them back to join: a *kerr.Error is mapped as in Kafka
	// (NOT_LEADER_OR_FOLLOWER to NOT_COORDINATOR, too large to
	// UNKNOWN_SERVER_ERROR), any other to COORDINATOR_NOT_AVAILABLE.
	// A nil Keep keeps nothing: groups live as long as the process.
	Keep func(ctx context.Context, r Record) error
	// KeepTimeout is how long members wait for Keep before they are told
	// COORDINATOR_NOT_AVAILABLE, and rejoin. Default 10 s.
	KeepTimeout time.Duration

	// Log receives a line per rebalance and per lost member. Default slog.Default().
	Log *slog.Logger
}

// filled returns the config with defaults in place of zero values.
func (c Config) filled() Config {
	fill(&c.MinSessionTimeout, defaultMinSessionTimeout)
	fill(&c.MaxSessionTimeout, defaultMaxSessionTimeout)
	fill(&c.MaxSize, defaultMaxSize)
	fill(&c.MaxBytes, defaultMaxBytes)
	fill(&c.MaxGroups, defaultMaxGroups)
	fill(&c.MaxTotalBytes, defaultMaxTotalBytes)
	fill(&c.KeepTimeout, defaultKeepTimeout)
	if c.Keep == nil {
		c.Keep = func(context.Context, Record) error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

func fill[T int | time.Duration](v *T, standard T) {
	if *v <= 0 {
		*v = standard
	}
}
