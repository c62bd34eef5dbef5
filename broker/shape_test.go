package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets every field of a request to something that is not its default, so that
// the encoder writes all tagged fields, too.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			v.Addr().Interface().(*kmsg.Tags).Set(77, []byte("unknown"))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.String:
		v.SetString("abc")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(7)
	default:
		v.SetInt(7)
	}
}

func everyVersion(t *testing.T, do func(t *testing.T, a *api, version int16, body []byte)) {
	for _, a := range table() {
		for version := a.min; version <= a.max; version++ {
			for _, full := range []bool{false, true} {
				req := a.key.Request()
				req.SetVersion(version)
				if full {
					fill(reflect.ValueOf(req).Elem())
				}
				do(t, &a, version, req.AppendTo(nil))
			}
		}
	}
}

func TestShapesAreWhatKmsgWrites(t *testing.T) {
	everyVersion(t, func(t *testing.T, a *api, version int16, body []byte) {
		s := shapes[a.key]
		if s == nil {
			t.Fatalf("%s has no shape", a.key.Name())
		}
		w := walker{version: version, flexible: s.flexible >= 0 && version >= s.flexible}
		w.r.Src = body
		if !w.fields(s.fields) || len(w.r.Src) != 0 {
			t.Errorf("%s version %d: the walk leaves %d of %d bytes", a.key.Name(), version, len(w.r.Src), len(body))
		}
	})
}

func TestAWalkRefusesEveryShortenedBody(t *testing.T) {
	everyVersion(t, func(t *testing.T, a *api, version int16, body []byte) {
		for n := range body {
			if err := shapes[a.key].walk(body[:n], version); !errors.Is(err, errShape) {
				t.Errorf("%s version %d: %d of %d bytes: %v", a.key.Name(), version, n, len(body), err)
			}
		}
	})
}

func TestForgedCountsCostNothing(t *testing.T) {
	// The last byte of each is the tag section of the whole request: a forged
	// number of tags would make the decoder loop four billion times.
	forged := binary.AppendUvarint(nil, 1<<32-1)
	everyVersion(t, func(t *testing.T, a *api, version int16, body []byte) {
		s := shapes[a.key]
		if s.flexible < 0 || version < s.flexible {
			return
		}
		began := time.Now()
		for i := range body {
			b := append(bytes.Clone(body[:i]), forged...)
			if s.walk(b, version) == nil {
				req := a.key.Request()
				req.SetVersion(version)
				req.ReadFrom(b)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s version %d took %v", a.key.Name(), version, took)
		}
	})
}

func FuzzWalkedBodiesDecode(f *testing.F) {
	for _, a := range table() {
		for version := a.min; version <= a.max; version++ {
			req := a.key.Request()
			req.SetVersion(version)
			fill(reflect.ValueOf(req).Elem())
			f.Add(int16(a.key), version, req.AppendTo(nil))
		}
	}
	index := byKey(table())
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if key < 0 || int(key) >= len(index) || index[key] == nil || version < index[key].min || version > index[key].max {
			return
		}
		if shapes[kmsg.Key(key)].walk(body, version) != nil {
			return
		}
		req := kmsg.Key(key).Request()
		req.SetVersion(version)
		if req.ReadFrom(body) == nil {
			req.AppendTo(nil) // nothing may panic
		}
	})
}
