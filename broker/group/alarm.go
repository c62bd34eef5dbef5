package group

import "time"

// alarm is one timer of a group: while it is not set it costs no goroutine.
// Its group's mu guards it, and is held when ring runs.
//
// A timer that fires may find mu taken by the very request that sets the alarm
// anew. So what counts is at, not that the timer fired.
type alarm struct {
	group *group
	ring  func()
	timer *time.Timer
	at    time.Time // zero: not set
}

// set makes the alarm ring after d, instead of whenever it was to ring before.
func (a *alarm) set(d time.Duration) {
	a.at = time.Now().Add(d)
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.fire)
	} else {
		a.timer.Reset(d)
	}
}

// stop unsets the alarm.
func (a *alarm) stop() {
	a.at = time.Time{}
	if a.timer != nil {
		a.timer.Stop()
	}
}

func (a *alarm) fire() {
	a.group.mu.Lock()
	defer a.group.unlock()
	if a.at.IsZero() || time.Now().Before(a.at) {
		return
	}
	a.at = time.Time{}
	a.ring()
}
