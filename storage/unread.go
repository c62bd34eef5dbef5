package storage

import (
	"errors"
	"time"
)

// unreadLogged is the time between two logs of a topic that it cannot be read.
const unreadLogged = 30 * time.Second

// noteUnread logs, now and then, that records cannot be read because of the bytes of a
// file: their readers are told no more than that the storage has failed.
func (t *Topic) noteUnread(err error) {
	if !unreadableFile(err) && !errors.Is(err, errGone) {
		return // the store, or the reader's own doing
	}
	t.mu.Lock()
	now := time.Now()
	quiet := now.Sub(t.unread) < unreadLogged
	if !quiet {
		t.unread = now
	}
	t.mu.Unlock()
	if !quiet {
		t.env.log.Error("records cannot be read", "topic", t.name, "err", err,
			"hint", "put the file back as it was, or take it out of the table (RESTORE the version before it), and the topic goes on")
	}
}
