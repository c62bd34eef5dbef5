package broker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/broker/group"
	"sluice/offsets"
	"sluice/protocol"
	"sluice/storage"
	"sluice/storage/object/mem"
)

// FuzzServed: each API in each version that is served takes any body: it is answered or
// refused, nothing panics, and the answer can be encoded. One broker takes them all.
func FuzzServed(f *testing.F) {
	b := fuzzBroker(f)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b.apis {
		for v := b.apis[i].min; v <= b.apis[i].max; v++ {
			req := kmsg.RequestForKey(int16(b.apis[i].key))
			req.SetVersion(v)
			f.Add(uint8(i), uint8(v-b.apis[i].min), req.AppendTo(nil))
			fillIn(reflect.ValueOf(req).Elem(), rng)
			req.SetVersion(v)
			f.Add(uint8(i), uint8(v-b.apis[i].min), req.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, which, version uint8, body []byte) {
		a := &b.apis[int(which)%len(b.apis)]
		r := &request{
			api: a, version: a.min + int16(version)%(a.max-a.min+1),
			listener: b.listeners[0], clientHost: "127.0.0.1", received: time.Now(),
		}
		var err error
		if r.body, err = protocol.DecodeBody(protocol.Header{Key: int16(a.key), Version: r.version}, body); err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		var response kmsg.Response
		if a.start != nil {
			var answer answer
			if answer, err = a.start(b, ctx, r); err == nil {
				response, err = answer(ctx)
			}
		} else {
			response, err = a.handle(b, ctx, r)
		}
		r.release()
		defer r.answer.release()
		b.metrics.observe(r, response, err)
		if err != nil || response == nil {
			if err != nil && errors.Is(err, errPanic) {
				t.Fatal(err)
			}
			return
		}
		if _, _, err := encode(nil, r, response); err != nil {
			t.Fatal(err)
		}
	})
}

// fuzzBroker is a whole broker with two topics, on a store in memory. It has no time limits of
// its own that would slow the fuzzing down: what waits ends with its request's context.
func fuzzBroker(f *testing.F) *Broker {
	f.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	store := mem.New()
	topics, err := storage.Open(ctx, store, storage.Options{Log: log, CommitInterval: time.Millisecond})
	if err != nil {
		f.Fatal(err)
	}
	committed, err := offsets.Open(ctx, store, offsets.Options{Log: log})
	if err != nil {
		f.Fatal(err)
	}
	groups, err := NewGroups(group.Config{Log: log, MaxGroups: 100}, committed)
	if err != nil {
		f.Fatal(err)
	}
	config := DefaultConfig()
	config.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	config.Listeners = []Listener{{Name: "PLAINTEXT", Host: "localhost", Port: 9092}}
	config.Broker = map[string]string{keyMaxPartitions: "50"}
	b, err := New(config, topics, committed, groups, log)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"a", "topic"} {
		if _, err := topics.Create(ctx, name, 2, nil, false); err != nil {
			f.Fatal(err)
		}
	}
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = b.Shutdown(ctx)
		_ = committed.Close(ctx)
		_ = topics.Close(ctx)
	})
	return b
}

// fillIn sets the fields of a request to small values, lists to one or two elements, names to
// those of the topics.
func fillIn(v reflect.Value, rng *rand.Rand) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" && v.Field(i).CanSet() {
				fillIn(v.Field(i), rng)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem(), rng)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+rng.IntN(2), 2))
		for i := range v.Len() {
			fillIn(v.Index(i), rng)
		}
	case reflect.String:
		v.SetString([]string{"a", "topic", "g"}[rng.IntN(3)])
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rng.IntN(4)) - 1)
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	}
}

// FuzzListeners: what is parsed is complete, and parses again.
func FuzzListeners(f *testing.F) {
	f.Add("PLAINTEXT://:9092", "", "")
	f.Add("A://0.0.0.0:1,B://[::1]:2", "A://h:3", "A:PLAINTEXT,B:PLAINTEXT")
	f.Add("A://x:99999", "B://:1", "A:SSL,")
	f.Fuzz(func(t *testing.T, listeners, advertised, security string) {
		all, err := ParseListeners(listeners, advertised, security)
		if err != nil {
			if !errors.Is(err, ErrListener) {
				t.Fatal(err)
			}
			return
		}
		for _, l := range all {
			if l.Name == "" || l.Bind == "" || l.Host == "" || l.Port < 0 {
				t.Fatalf("%+v", l)
			}
		}
	})
}
