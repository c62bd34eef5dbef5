package storage_test

import (
	"context"
	"time"

	"sluice/storage"
	"sluice/storage/admin"
	"sluice/storage/object"
)

// What an operator does in the simulation.
func init() {
	for name, command := range map[string]func(context.Context, *admin.Table, [][]byte) error{
		"optimize": func(ctx context.Context, t *admin.Table, _ [][]byte) error {
			_, err := t.Optimize(ctx, 1<<20)
			return err
		},
		"vacuum": func(ctx context.Context, t *admin.Table, _ [][]byte) error {
			_, err := t.Vacuum(ctx, false)
			return err
		},
		"purge": func(ctx context.Context, t *admin.Table, _ [][]byte) error {
			_, err := t.Purge(ctx, false)
			return err
		},
		"delete": func(ctx context.Context, t *admin.Table, keys [][]byte) error {
			_, err := t.Delete(ctx, admin.Selection{Keys: keys}, false)
			return err
		},
	} {
		storage.SimCommands[name] = func(ctx context.Context, store object.Store, topic string, window time.Duration, keys [][]byte) error {
			table, err := admin.Open(ctx, store, topic, admin.Options{Window: window})
			if err != nil {
				return err
			}
			return command(ctx, table, keys)
		}
	}
}
