package failpoint_test

import (
	"context"
	"testing"

	"sluice/storage/object"
	"sluice/storage/object/failpoint"
	"sluice/storage/object/mem"
	"sluice/storage/object/objecttest"
)

const (
	entry     = `{"commitInfo":{"timestamp":1,"operation":"TAKE OVER","operationParameters":{}}}`
	retention = `{"commitInfo":{"timestamp":1,"operation":"DELETE","operationParameters":{"reason":"retention"}}}`
)

func TestEachWriteIsAPointOfItsName(t *testing.T) {
	put := func(key, body string) func(context.Context, object.Store) {
		return func(ctx context.Context, s object.Store) { s.Put(ctx, key, []byte(body)) }
	}
	stage := func(key string) func(context.Context, object.Store) {
		return func(ctx context.Context, s object.Store) { s.Stage(ctx, key, nil) }
	}
	remove := func(keys ...string) func(context.Context, object.Store) {
		return func(ctx context.Context, s object.Store) { s.Delete(ctx, keys...) }
	}
	for point, write := range map[string]func(context.Context, object.Store){
		"data.before":   stage("t/data/2026-01-01/x.parquet"),
		"data.after":    stage("t/data/2026-01-01/x.parquet"),
		"rewrite.after": put("t/data/2026-01-01/x.parquet", ""),
		"entry.take-over.after": func(ctx context.Context, s object.Store) {
			s.Create(ctx, "t/_delta_log/00000000000000000001.json", []byte(entry))
		},
		"checkpoint.before":              put("t/_delta_log/00000000000000000001.checkpoint.parquet", ""),
		"hint.after":                     put("t/_delta_log/_last_checkpoint", ""),
		"state.after":                    put("t/_sluice/state/00000000000000000001", ""),
		"cleanup.half":                   remove("t/_delta_log/00000000000000000001.json", "t/_delta_log/00000000000000000002.json"),
		"vacuum.after":                   remove("t/data/2026-01-01/x.parquet"),
		"offsets.entry.take-over.before": put("_sluice/consumer_offsets/_delta_log/00000000000000000001.json", entry),
		"entry.delete-retention.before":  put("t/_delta_log/00000000000000000001.json", retention),
		"catalogue.data.after":           stage("_sluice/topics/data/2026-01-01/x.parquet"),
		"offsets.entry.other.before":     put("_sluice/consumer_offsets/_delta_log/00000000000000000001.json", "{}"),
	} {
		died := 0
		counter := failpoint.NewCounter(failpoint.Trigger{Point: point, Nth: 2}, func() { died++ })
		s := failpoint.New(mem.New(), counter)
		for n, want := range []int{0, 1, 1} {
			if write(t.Context(), s); died != want {
				t.Errorf("%s: died %d times after %d", point, died, n+1)
			}
			s.Delete(t.Context(), "t/_delta_log/00000000000000000001.json") // else it exists, and is no second entry
		}
	}
}

func TestHalfOfTheKeysAreGone(t *testing.T) {
	inner := mem.New()
	left := -1
	s := failpoint.New(inner, failpoint.NewCounter(failpoint.Trigger{Point: "vacuum.half", Nth: 1}, func() {
		page, err := inner.List(t.Context(), object.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		left = len(page.Objects)
	}))
	keys := []string{"t/data/a", "t/data/b", "t/data/c", "t/data/d"}
	for _, key := range keys {
		if _, err := s.Put(t.Context(), key, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Delete(t.Context(), keys...); err != nil || left != 2 {
		t.Errorf("%d keys are left, %v", left, err)
	}
}

func TestTriggersAreParsed(t *testing.T) {
	for text, want := range map[string]failpoint.Trigger{
		"data.before":          {Point: "data.before", Nth: 1},
		"entry.write.after:12": {Point: "entry.write.after", Nth: 12},
		"ack.before:3:still":   {Point: "ack.before", Nth: 3, Still: true},
	} {
		if got, err := failpoint.Parse(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "data", "before", ".before", "data.before:", "data.before:0", "data.before:x", "data.later:1", ":still", "data.before:x:still", "data.before:1:stil"} {
		if got, err := failpoint.Parse(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestSuiteOfStores(t *testing.T) {
	inner := mem.New()
	objecttest.Run(t, func(t *testing.T) object.Store {
		return failpoint.New(inner.Handle(), failpoint.NewCounter(failpoint.Trigger{}, func() { t.Error("died") }))
	})
}
