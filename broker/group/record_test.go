package group

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// stored is an encoded record as brokers have written it: it must be read for ever.
const stored = `{"v":1,"group":"g","generation":3,"protocol_type":"consumer","protocol":"range","leader":"a",` +
	`"since":"2026-11-22T12:30:00.123Z","members":[{"id":"a","instance_id":"i","client_id":"app","client_host":"/10.0.0.7",` +
	`"session_timeout_ms":45000,"rebalance_timeout_ms":300000,"metadata":"AAE=","assignment":"//4="}]}`

func storedRecord() Record {
	return Record{
		Group: "g", Generation: 3, ProtocolType: "consumer", Protocol: "range", Leader: "a",
		Since: time.Date(2026, 11, 22, 12, 30, 0, 123_000_000, time.UTC),
		Members: []RecordMember{{
			ID: "a", InstanceID: "i", ClientID: "app", ClientHost: "/10.0.0.7",
			SessionTimeout: 45 * time.Second, RebalanceTimeout: 5 * time.Minute,
			Metadata: []byte{0, 1}, Assignment: []byte{0xff, 0xfe},
		}},
	}
}

func TestTheEncodingOfARecordStaysAsItIs(t *testing.T) {
	if got := string(storedRecord().Encode()); got != stored {
		t.Errorf("encoded\n%s\nwant\n%s", got, stored)
	}
	got, err := Decode([]byte(stored))
	if err != nil || !reflect.DeepEqual(got, storedRecord()) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestATombstoneIsARecord(t *testing.T) {
	r := Record{Group: "g", Deleted: true}
	b := r.Encode()
	if want := `{"v":1,"group":"g","deleted":true,"generation":0,"protocol_type":"","protocol":"","leader":"","members":[]}`; string(b) != want {
		t.Errorf("encoded %s", b)
	}
	if got, err := Decode(b); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	for _, b := range []string{"", "null", "{}", "[]", `{"v":2}`, `{"v":1,"since":"yesterday"}`, `{"v":1,"members":[{"metadata":"?"}]}`} {
		if _, err := Decode([]byte(b)); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(stored))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(r.Encode())
		if err != nil || !reflect.DeepEqual(again.Members, r.Members) && len(r.Members) > 0 {
			t.Fatalf("%+v came back as %+v, %v", r, again, err)
		}
		m := New(Config{})
		m.Load([]Record{r})
		m.Close()
	})
}
