package object_test

import (
	"testing"

	"sluice/storage/object"
	"sluice/storage/object/mem"
)

func TestATallyCountsTheFoldersThatItWatches(t *testing.T) {
	s := object.NewTally(mem.New())
	ctx := t.Context()
	calls, forget := s.Watch("a")
	for _, folder := range []string{"a", "ab", "b"} {
		if _, err := s.Create(ctx, folder+"/1", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(ctx, folder+"/2", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(ctx, folder+"/1", object.Range{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(ctx, object.ListRequest{Prefix: folder + "/"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Delete(ctx, folder+"/1", folder+"/2"); err != nil {
			t.Fatal(err)
		}
	}
	want := func(n int64) {
		t.Helper()
		for _, got := range []int64{calls.Creates.Load(), calls.Puts.Load(), calls.Gets.Load(), calls.Lists.Load(), calls.Deletes.Load()} {
			if got != n {
				t.Errorf("%d calls, want %d of each kind", got, n)
			}
		}
	}
	want(1)
	again, forgetAgain := s.Watch("a")
	forget() // of the first, which is not counted any more
	if _, err := s.Put(ctx, "a/3", nil); err != nil {
		t.Fatal(err)
	}
	want(1)
	if again.Puts.Load() != 1 {
		t.Error("the second watch has not counted")
	}
	forgetAgain()
	if _, err := s.Put(ctx, "a/4", nil); err != nil || again.Puts.Load() != 1 {
		t.Error("counted after it was forgotten", err)
	}
}
