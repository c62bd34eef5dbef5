package check_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/offsets"
	"sluice/storage"
	"sluice/storage/check"
	"sluice/storage/object"
	"sluice/storage/object/mem"
)

func TestATopicOfTheCatalogueWithoutATableIsSaid(t *testing.T) {
	b := begin(t)
	for key := range b.objects {
		if strings.HasPrefix(key, "t/") {
			delete(b.objects, key)
		}
	}
	b.says(check.Error, "and there is no table of it")
}

func TestACatalogueThatIsBehindIsSaid(t *testing.T) {
	b := begin(t)
	b.commit(b.properties("sluice.partitions", "5"))
	b.says(check.Warning, "the catalogue says that t is live")

	b = begin(t)
	for key, body := range b.objects {
		if rest, ok := strings.CutPrefix(key, "t/"); ok && strings.HasPrefix(rest, "_delta_log/") {
			b.objects["u/"+rest] = body
		}
	}
	b.says(check.Warning, "the catalogue does not know the topic u")
}

func TestTablesOfRowsWithKeysAreChecked(t *testing.T) {
	of := func(b *broken, part string) string {
		for key := range b.objects {
			if strings.HasPrefix(key, "_sluice/consumer_offsets/"+part) {
				return key
			}
		}
		t.Fatal("no such object")
		return ""
	}
	b := begin(t)
	delete(b.objects, of(b, "data/"))
	b.says(check.Error, "the file is not there")

	b = begin(t)
	b.objects[of(b, "data/")] = []byte("PAR1 nonsense PAR1")
	b.says(check.Error, "cannot be read")

	b = begin(t)
	key := of(b, "data/")
	b.objects[strings.Replace(key, ".parquet", "-2.parquet", 1)] = b.objects[key]
	path := strings.TrimPrefix(strings.Replace(key, ".parquet", "-2.parquet", 1), "_sluice/consumer_offsets/")
	b.objects["_sluice/consumer_offsets/_delta_log/00000000000000000003.json"] = []byte(b.info() + "\n" + action("add", map[string]any{
		"path": path, "partitionValues": map[string]any{}, "size": len(b.objects[key]), "modificationTime": 1, "dataChange": true, "stats": `{"numRecords":5}`,
	}))
	b.says(check.Error, "the sequence 1 stands in")
	b.says(check.Error, "do not say that it has 1 rows")
}

func TestAnOffsetBeyondItsTopicIsOdd(t *testing.T) {
	ctx, store := t.Context(), mem.New()
	topics, err := storage.Open(ctx, store, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := topics.Create(ctx, "t", 1, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := offsets.Open(ctx, store, offsets.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = committed.Term().Commit("g", []offsets.Offset{
		{Topic: "t", TopicID: info.ID, Offset: 5, Committed: time.Now()},
		{Topic: "t", TopicID: info.ID, Partition: 3, Committed: time.Now()},
		{Topic: "t", TopicID: [16]byte{1}, Partition: 4, Offset: 7, Committed: time.Now()}, // of another incarnation
	}).Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer committed.Close(ctx)
	defer topics.Close(ctx)
	var heard []string
	report, err := check.All(ctx, store, check.Options{}, func(r *check.Report) { heard = append(heard, r.Table) })
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, p := range report.Problems() {
		said = append(said, p.What)
	}
	slices.Sort(said)
	want := []string{"group g has an offset of t-3; the topic has 1 partitions", "group g has committed offset 5 of t-0, which ends at 0"}
	if !slices.Equal(said, want) || report.Warnings != 2 || !report.Sound() {
		t.Errorf("%q", said)
	}
	if len(heard) != 3 {
		t.Error("heard of", heard)
	}
}

func TestADeletedTopicsLeftoversAreCounted(t *testing.T) {
	ctx, store := t.Context(), mem.New()
	topics, err := storage.Open(ctx, store, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topics.Create(ctx, "t", 1, nil, false); err != nil {
		t.Fatal(err)
	}
	if err := topics.Delete(ctx, "t", [16]byte{}); err != nil {
		t.Fatal(err)
	}
	if err := topics.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(ctx, "t/data/left.parquet", []byte("12345")); err != nil {
		t.Fatal(err)
	}
	store.SetClock(func() time.Time { return time.Now().Add(2 * time.Hour) })
	report, err := check.Table(ctx, store, "t", check.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Deleted || !report.Sound() || report.Counts.OrphanBytes != 5 {
		t.Errorf("%+v", report)
	}
	finds(t, report, check.Info, "are left of the deleted topic")
}

func TestAStoreThatFailsIsNoVerdict(t *testing.T) {
	store := mem.New()
	store.SetFaults(func(mem.Request) mem.Fault { return mem.Fault{Outcome: mem.Refuse, Err: object.ErrDenied} })
	if _, err := check.All(t.Context(), store, check.Options{}, nil); err == nil {
		t.Error("a verdict without a store")
	}
}
