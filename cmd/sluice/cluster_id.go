package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"sluice/storage/object"
)

// clusterIDKey holds the id of the cluster whose brokers serve this root. The
// first broker writes it and all others read it, so that clients see one cluster
// over restarts and on every broker.
const clusterIDKey = "_sluice/cluster_id"

// clusterIDAttempts bounds the tries of a store that answers unclearly.
const clusterIDAttempts = 5

var clusterIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// clusterID answers the id in the store, made now if there is none.
func clusterID(ctx context.Context, store object.Store) (string, error) {
	for attempt := 1; ; attempt++ {
		stored, err := store.Get(ctx, clusterIDKey, object.Range{})
		if err == nil {
			id := strings.TrimSpace(string(stored.Body))
			if !clusterIDForm.MatchString(id) {
				return "", advise(fmt.Errorf("cluster id: %s holds %q", clusterIDKey, shorten(id)),
					"It must hold 1 to 64 letters, digits, dots, dashes or underscores. Write what it was, or delete it for a new one.")
			}
			return id, nil
		}
		if !errors.Is(err, object.ErrNotFound) {
			return "", fmt.Errorf("cluster id: %w", err)
		}
		id := newClusterID()
		_, err = store.Create(ctx, clusterIDKey, []byte(id+"\n"))
		if err == nil {
			return id, nil
		}
		// Exists: another broker was first. Unclear: it may be ours. Both are
		// settled by reading.
		if errors.Is(err, object.ErrDenied) || attempt == clusterIDAttempts || ctx.Err() != nil {
			return "", fmt.Errorf("cluster id: %w", err)
		}
	}
}

// newClusterID makes an id of Kafka's form: a random UUID in 22 characters of
// base64url (Kafka's Uuid.randomUuid leaves out those that begin with a dash,
// which command lines would take for a flag).
func newClusterID() string {
	for {
		id := uuid.New()
		if s := base64.RawURLEncoding.EncodeToString(id[:]); s[0] != '-' {
			return s
		}
	}
}

func shorten(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
