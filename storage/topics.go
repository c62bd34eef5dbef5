package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/storage/delta"
	"sluice/storage/keyed"
	"sluice/storage/object"
)

// Options are the broker-wide settings of storage. The zero value of a field is
// its default.
type Options struct {
	// Defaults are the topic configs that the broker sets for all topics; see
	// TopicDefaults.
	Defaults map[string]string
	// CommitInterval is that of topics whose sluice.commit.interval.ms is -1.
	CommitInterval time.Duration
	// PutsPerSecond is the budget of puts, 0 for none.
	PutsPerSecond float64
	// TailBytes bounds the cache of batches as they were produced, BlockBytes that
	// of batches rebuilt from files. Default 128 MiB and 64 MiB.
	TailBytes, BlockBytes int
	// DiskDir is where batches are kept that leave the tail cache, in files without names of
	// DiskBytes in all; no such cache if either is not set. With DiskShare it takes one part
	// in so many, at most, of what the disk has free.
	DiskDir              string
	DiskBytes, DiskShare int64
	// PendingBytes bounds what is produced and not committed yet, over all topics;
	// beyond it Append answers ErrUnavailable. Default 256 MiB.
	PendingBytes int64
	// TableBytes bounds the state of each table in memory, and what is read of its log; a
	// table that takes more is not served. Default delta.DefaultMemory.
	TableBytes int64
	// TablesBytes bounds the states of all tables that are open or looked at; a topic for which
	// there is no room is not served (ErrNoRoom) until others are closed. Default 4 times TableBytes.
	TablesBytes int64
	// Window is W of the rule of cleaned log entries; see delta.Options.
	Window time.Duration
	// Engine names the writer in commitInfo.
	Engine string
	// Registerer takes the metrics, if not nil.
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Topics are all topics under one root. Safe for concurrent use.
type Topics struct {
	env       *env
	catalogue *keyed.Table[string, catalogueRow]
	defaults  map[string]string

	ctx    context.Context // of openings and amendments; ends with Close
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu     sync.Mutex
	infos  map[string]TopicInfo // live topics by name
	ids    map[[16]byte]string
	open   map[string]*opening
	lost   map[string]time.Time // topics that another broker took over, and when
	failed map[string]failure   // topics that could not be opened
	making map[string]chan struct{}
	closed bool
	// epochs are the leader epochs, as read, of topics that are not open; learning are those
	// that are being read. See epochs.go.
	epochs   map[string]int32
	learning map[string]chan struct{}
}

// maxPartitions of a topic.
const maxPartitions = 10_000

// Open reads the catalogue (not the tables: those open on first use) and brings
// it up to date with the folders under the root, which are the truth.
func Open(ctx context.Context, store object.Store, options Options) (*Topics, error) {
	env := newEnv(store, options)
	if _, err := ParseSettings(nil, options.Defaults); err != nil {
		return nil, err
	}
	catalogue, err := openCatalogue(ctx, env)
	if err != nil {
		return nil, err
	}
	ts := &Topics{
		env: env, catalogue: catalogue, defaults: options.Defaults,
		infos: map[string]TopicInfo{}, ids: map[[16]byte]string{},
		open: map[string]*opening{}, lost: map[string]time.Time{}, failed: map[string]failure{}, making: map[string]chan struct{}{},
		epochs: map[string]int32{}, learning: map[string]chan struct{}{},
	}
	ts.ctx, ts.cancel = context.WithCancel(context.Background())
	catalogue.OnChange(ts.catalogued)
	catalogue.OnLost(ts.Suspect)
	catalogue.Each(func(_ string, row *catalogueRow) { ts.note(row) })
	if err := ts.reconcile(ctx); err != nil {
		catalogue.Close(ctx)
		return nil, err
	}
	if options.Registerer != nil {
		options.Registerer.MustRegister(newTopicGauges(ts.openTopics))
	}
	ts.group.Go(ts.tend)
	ts.group.Go(ts.round)
	ts.group.Go(ts.watch)
	ts.group.Go(ts.clean)
	return ts, nil
}

// catalogued hears of committed rows of the catalogue.
func (ts *Topics) catalogued(rows []catalogueRow, all bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if all {
		clear(ts.infos)
		clear(ts.ids)
		clear(ts.epochs)
	}
	for i := range rows {
		ts.note(&rows[i])
	}
}

// note takes a row of the catalogue into the maps; ts.mu is held (or ts is new).
func (ts *Topics) note(row *catalogueRow) {
	if old, ok := ts.infos[row.Name]; ok {
		delete(ts.ids, old.ID)
		delete(ts.infos, row.Name)
	}
	delete(ts.failed, row.Name) // it may be another topic now
	delete(ts.epochs, row.Name)
	if info, live := row.info(); live {
		ts.infos[row.Name] = info
		ts.ids[info.ID] = row.Name
	}
}

// reconcile finds tables that the catalogue does not know: made by a broker that
// was killed before it could say so, or copied into the root by hand.
func (ts *Topics) reconcile(ctx context.Context) error {
	var unknown []string
	request := object.ListRequest{Folders: true}
	for {
		page, err := ts.env.store.List(ctx, request)
		if err != nil {
			return fmt.Errorf("listing the topics of %s: %w", ts.env.store.URL(), err)
		}
		for _, folder := range page.Folders {
			name := strings.TrimSuffix(folder, "/")
			if ValidName(name) != nil || strings.HasPrefix(name, "_sluice") {
				continue
			}
			if _, known := ts.catalogue.Get(name); !known {
				unknown = append(unknown, name)
			}
		}
		if !page.More {
			break
		}
		request.After = page.Last
	}
	var mu sync.Mutex
	var large []string // those that did not fit into memory beside each other; guarded by mu
	take := func(ctx context.Context, name string) error {
		row, err := readCatalogueRow(ctx, ts.env, name)
		switch {
		case errors.Is(err, delta.ErrNoTable), errors.Is(err, errNoTopic):
			return nil // some other folder
		case errors.Is(err, delta.ErrFull):
			mu.Lock()
			defer mu.Unlock()
			large = append(large, name)
			return nil
		case err != nil:
			ts.env.log.Error("a table under the root is not served", "table", name, "err", err)
			return nil
		}
		return ts.catalogue.Put(row).Get(ctx)
	}
	group, parallel := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, name := range unknown {
		group.Go(func() error { return take(parallel, name) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	alone := large
	for _, name := range alone { // one at a time: they fit, or are larger than a table may be
		if err := take(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Budget is the budget of puts that all topics share, for what else writes to the
// store; nil if there is none.
func (ts *Topics) Budget() *delta.Budget { return ts.env.budget }

// Memory bounds what is read of tables, for what else reads some; see Options.TableBytes.
func (ts *Topics) Memory() *delta.Memory { return ts.env.memory }

// catalogueEvery is the least time between two looks at the catalogue's log for names that
// are not known.
const catalogueEvery = 10 * time.Second

// Renew has topics found that another broker has made, at the next look-up or, if that one has the
// catalogue, a few seconds later. It costs a GET in 10 s at most. An error is no matter: the
// catalogue is a hint.
func (ts *Topics) Renew(ctx context.Context) { _ = ts.catalogue.Confirm(ctx, catalogueEvery) }

// All lists the topics, sorted by name, from memory.
func (ts *Topics) All() []TopicInfo {
	ts.mu.Lock()
	all := make([]TopicInfo, 0, len(ts.infos))
	for name := range ts.infos {
		all = append(all, ts.current(name))
	}
	ts.mu.Unlock()
	slices.SortFunc(all, func(a, b TopicInfo) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Totals is how many topics All lists, and how many partitions they have.
func (ts *Topics) Totals() (topics, partitions int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, info := range ts.infos {
		partitions += int(info.Partitions)
	}
	return len(ts.infos), partitions
}

// current is the catalogue's info with what only an open topic knows; ts.mu is held.
func (ts *Topics) current(name string) TopicInfo {
	info := ts.infos[name]
	if epoch, ok := ts.epochs[name]; ok {
		info.LeaderEpoch = epoch
	}
	if t := ts.opened(name); t != nil {
		info.LeaderEpoch = t.epoch
	}
	return info
}

// opened is the topic if it is open and sound; ts.mu is held.
func (ts *Topics) opened(name string) *Topic {
	if o := ts.open[name]; o != nil {
		select {
		case <-o.done:
			return o.topic // nil if opening failed
		default:
		}
	}
	return nil
}

// Lookup finds a topic by name, from memory.
func (ts *Topics) Lookup(name string) (TopicInfo, bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if _, ok := ts.infos[name]; !ok {
		return TopicInfo{}, false
	}
	return ts.current(name), true
}

// LookupID finds a topic by id, from memory.
func (ts *Topics) LookupID(id [16]byte) (TopicInfo, bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	name, ok := ts.ids[id]
	if !ok {
		return TopicInfo{}, false
	}
	return ts.current(name), true
}

// OpenTopic answers a topic if it is open already, without any request to the store.
func (ts *Topics) OpenTopic(name string) (*Topic, bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.opened(name)
	return t, t != nil
}

// Description is what a topic's table says of it.
type Description struct {
	Config  map[string]string // the keys that differ from the defaults
	URL     string            // where engines find the table
	Version int64             // the newest version
}

// Describe reads a topic's description. A topic that is not open stays so: to look
// at thousands of topics is not to lead them.
func (ts *Topics) Describe(ctx context.Context, name string) (Description, error) {
	if t, ok := ts.OpenTopic(name); ok {
		return Description{t.Config(), t.TableURL(), t.Version()}, nil
	}
	info, ok := ts.Lookup(name)
	if !ok {
		return Description{}, fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	snap, err := ts.env.newLog(name).Open(ctx, nil)
	if err != nil {
		return Description{}, storeError(err)
	}
	defer snap.Release()
	properties, err := parseProperties(snap.Metadata.Configuration)
	switch {
	case err != nil:
		return Description{}, storeError(err)
	case properties.deleted || parseID(snap.Metadata.ID) != info.ID:
		return Description{}, fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	return Description{properties.config, ts.env.tableURL(name), snap.Version}, nil
}

// Create makes a topic: version 0 of its table, or, where a deleted topic of the
// name left its log, the next version of that. ErrTopicExists comes with the info of
// the topic that is there. config holds Kafka topic keys; validateOnly checks
// and makes nothing.
func (ts *Topics) Create(ctx context.Context, name string, partitions int32, config map[string]string, validateOnly bool) (TopicInfo, error) {
	if err := ValidName(name); err != nil {
		return TopicInfo{}, err
	}
	if partitions < 1 || partitions > maxPartitions {
		return TopicInfo{}, fmt.Errorf("%w: %d; a topic has 1 to %d", ErrInvalidPartition, partitions, maxPartitions)
	}
	settings, err := ParseSettings(config, ts.defaults)
	if err != nil {
		return TopicInfo{}, err
	}
	release, err := ts.reserve(ctx, name)
	if err != nil {
		return TopicInfo{}, err
	}
	defer release()
	if info, ok := ts.Lookup(name); ok {
		return info, fmt.Errorf("%w: %s", ErrTopicExists, name)
	}
	if clash := ts.clash(name); clash != "" {
		return TopicInfo{}, fmt.Errorf("%w: %s collides with the topic %s, from which it differs only in '.' and '_'", ErrInvalidTopic, name, clash)
	}
	if validateOnly {
		return TopicInfo{Name: name, Partitions: partitions, LeaderEpoch: -1}, nil
	}
	row, err := createTable(ctx, ts.env, name, uuid.New(), partitions, config, settings)
	if errors.Is(err, delta.ErrIncomplete) {
		again, failed := ts.restartIfDeleted(ctx, name)
		if failed != nil {
			return TopicInfo{}, failed
		}
		if again {
			row, err = createTable(ctx, ts.env, name, uuid.New(), partitions, config, settings)
		}
	}
	exists := errors.Is(err, ErrTopicExists)
	if err != nil && !exists {
		return TopicInfo{}, err
	}
	if err := ts.catalogue.Put(row).Get(ctx); err != nil {
		return TopicInfo{}, storeError(err)
	}
	info, _ := row.info()
	if exists {
		return info, err
	}
	ts.env.log.Info("topic created", "topic", name, "id", row.ID, "partitions", partitions)
	return info, nil
}

// reserve lets one creation or deletion of a name go on at a time.
func (ts *Topics) reserve(ctx context.Context, name string) (release func(), err error) {
	for {
		ts.mu.Lock()
		if ts.closed {
			ts.mu.Unlock()
			return nil, ErrClosed
		}
		other := ts.making[name]
		if other == nil {
			mine := make(chan struct{})
			ts.making[name] = mine
			ts.mu.Unlock()
			return func() {
				ts.mu.Lock()
				delete(ts.making, name)
				ts.mu.Unlock()
				close(mine)
			}, nil
		}
		ts.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// clash finds a topic whose name has the same metric name (Kafka: Topic.hasCollision).
func (ts *Topics) clash(name string) string {
	if !strings.ContainsAny(name, "._") {
		return ""
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for other := range ts.infos {
		if sameMetricName(name, other) {
			return other
		}
	}
	return ""
}

// sameMetricName reports whether names differ in '.' and '_' at most. It allocates
// nothing: each creation compares with all topics.
func sameMetricName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && (a[i] != '.' || b[i] != '_') && (a[i] != '_' || b[i] != '.') {
			return false
		}
	}
	return true
}

// Delete deletes a topic: a commit that takes all files out of its table and
// marks it, so that nothing late can revive it. Its data files are deleted
// then. id may be zero; otherwise only that incarnation is deleted. Where somebody
// has removed the table from the store, what is left of the topic is its row in the
// catalogue, which is marked.
func (ts *Topics) Delete(ctx context.Context, name string, id [16]byte) error {
	release, err := ts.reserve(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	info, ok := ts.Lookup(name)
	if !ok || id != [16]byte{} && id != info.ID {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	there, err := ts.env.newLog(name).Exists(ctx)
	if err != nil {
		return storeError(err)
	}
	if !there {
		return ts.deleteVanished(ctx, info)
	}
	t, err := ts.Topic(ctx, name)
	if errors.Is(err, ErrUnknownTopic) { // a deletion got no further than the table
		return ts.correct(ctx, name)
	}
	if errors.Is(err, delta.ErrIncomplete) {
		return ts.deleteDamaged(ctx, info)
	}
	if err != nil {
		return err
	}
	if info = t.Info(); id != [16]byte{} && id != info.ID {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	if err := t.delete(ctx); err != nil {
		return err
	}
	if err := ts.catalogue.Put(deletedRow(name, info)).Get(ctx); err != nil {
		return storeError(err)
	}
	ts.env.log.Info("topic deleted", "topic", name)
	return nil
}

// deleteVanished deletes a topic that has no log in the store any more; its name is
// reserved. If the topic is open here it ends first, and what is pending fails: an entry
// put now would be the beginning of a log that nobody can read.
func (ts *Topics) deleteVanished(ctx context.Context, info TopicInfo) error {
	if t, err := ts.Topic(ctx, info.Name); err == nil {
		t.abandon()
	}
	if err := ts.catalogue.Put(deletedRow(info.Name, info)).Get(ctx); err != nil {
		return storeError(err)
	}
	ts.env.log.Warn("a topic is deleted whose table somebody had removed from the store: only the catalogue still named it",
		"topic", info.Name, "table", ts.env.tableURL(info.Name))
	return nil
}

// AddPartitions raises the number of partitions of a topic to total.
func (ts *Topics) AddPartitions(ctx context.Context, name string, total int32) error {
	if total > maxPartitions {
		return fmt.Errorf("%w: %d; a topic has at most %d", ErrInvalidPartition, total, maxPartitions)
	}
	release, err := ts.reserve(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	t, err := ts.Topic(ctx, name)
	if err != nil {
		return err
	}
	refused := t.addPartitions(ctx, total)
	if info, _ := ts.Lookup(name); refused != nil && info.Partitions == t.Info().Partitions {
		return refused
	}
	if err := ts.catalogue.Put(liveRow(t.Info())).Get(ctx); err != nil {
		return storeError(err)
	}
	return refused
}

// Close commits what is pending, within ctx, and stops.
func (ts *Topics) Close(ctx context.Context) error {
	ts.mu.Lock()
	ts.closed = true
	all := make([]*opening, 0, len(ts.open))
	for _, o := range ts.open {
		all = append(all, o)
	}
	ts.mu.Unlock()
	ts.cancel() // nobody needs what is being opened
	var group errgroup.Group
	for _, o := range all {
		group.Go(func() error {
			<-o.done // at once, as its context has ended
			if o.topic == nil {
				return nil
			}
			return o.topic.close(ctx)
		})
	}
	err := errors.Join(group.Wait(), ts.catalogue.Close(ctx))
	ts.group.Wait()
	return errors.Join(err, ts.env.close(ctx))
}

// maxNameLength is Kafka's (Topic.MAX_NAME_LENGTH).
const maxNameLength = 249

// ValidName says why name cannot be a topic's name, or nil. The rules are Kafka's
// (Topic.validate); none of its names can leave the root or reach a folder that
// engines or Sluice itself use.
func ValidName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the empty string", ErrInvalidTopic)
	case name == "." || name == "..":
		return fmt.Errorf("%w: '.' and '..' are not allowed", ErrInvalidTopic)
	case len(name) > maxNameLength:
		return fmt.Errorf("%w: %d characters, at most %d are allowed", ErrInvalidTopic, len(name), maxNameLength)
	case strings.HasPrefix(name, "_sluice") || name == "_delta_log":
		return fmt.Errorf("%w: %s is reserved", ErrInvalidTopic, name)
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return fmt.Errorf("%w: %q has other characters than ASCII letters, digits, '.', '_' and '-'", ErrInvalidTopic, shorten(name))
		}
	}
	return nil
}
