package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sluice/storage/object"
)

// clockWarning is the distance between the store's clock and this machine's from
// which the log mentions it: S3 refuses requests that are 15 minutes off.
const clockWarning = time.Minute

// probeStore refuses a store that would lose acknowledged records, and tells
// what it found of a good one.
func probeStore(ctx context.Context, store object.Store, log *slog.Logger) (string, error) {
	report, err := object.Probe(ctx, store)
	switch {
	case errors.Is(err, object.ErrUnsafe):
		return "", fmt.Errorf("store refused: %w", err) // it says what to use instead
	case errors.Is(err, object.ErrDenied):
		return "", advise(err, "Sluice reads, writes, lists and deletes below %s: grant all four.", store.URL())
	case err != nil:
		return "", advise(err, "The store did not answer as it should. Nothing was started; try again when it does.")
	}
	if off := report.Now.Sub(report.Local); !report.Now.IsZero() && off.Abs() > clockWarning {
		log.Warn("the store's clock and this machine's differ", "by", off.Round(time.Second))
	}
	return fmt.Sprintf("put-if-absent ok, put %s, get %s", millis(report.Put), millis(report.Get)), nil
}

// millis prints a latency with two digits that mean something.
func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 0.1:
		return "below 0.1 ms"
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
