package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets all fields of a request: arrays get n elements, strings some bytes.
func fill(v reflect.Value, n int, rng *rand.Rand) {
	switch v.Kind() {
	case reflect.Pointer:
		if n == 0 && v.Type().Elem().Kind() != reflect.Struct {
			return // null
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n, rng)
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			for i := range n {
				tags.Set(uint32(20+i), []byte("tag"))
			}
			return
		}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" {
				fill(v.Field(i), n, rng)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), n, rng)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n, rng)
		}
	case reflect.String:
		v.SetString(strings.Repeat("s", n))
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 1)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(int8(rng.Int())))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(uint8(rng.Int())))
	}
}

// filled returns a request with n of everything and its body.
func filled(req kmsg.Request, n int, rng *rand.Rand) []byte {
	v := req.GetVersion()
	fill(reflect.ValueOf(req).Elem(), n, rng)
	req.SetVersion(v)
	return req.AppendTo(nil)
}

func TestEveryRequestDecodesToWhatWasSent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	requests(func(req kmsg.Request) {
		for n := range 4 {
			body := filled(req, n, rng)
			name := kmsg.NameForKey(req.Key())
			layout, ok := layoutOf(req.Key(), req.GetVersion())
			if !ok {
				t.Fatalf("%s v%d has no layout: go generate", name, req.GetVersion())
			}
			w := walker{in: body, budget: costAllowance}
			if w.walk(layout); w.bad || len(w.in) > 0 {
				t.Fatalf("%s v%d: layout %s leaves %d of %d bytes (bad: %v): go generate", name, req.GetVersion(), layout, len(w.in), len(body), w.bad)
			}
			got, err := DecodeBody(Header{Key: req.Key(), Version: req.GetVersion()}, body)
			if err != nil {
				t.Fatalf("%s v%d: %v", name, req.GetVersion(), err)
			}
			if again := got.AppendTo(nil); !bytes.Equal(again, body) {
				t.Fatalf("%s v%d: decoded to\n%x\nwant\n%x", name, req.GetVersion(), again, body)
			}
			for cut := 0; n == 1 && cut < len(body); cut++ {
				if _, err := DecodeBody(Header{Key: req.Key(), Version: req.GetVersion()}, body[:cut]); !errors.Is(err, ErrBadBody) {
					t.Fatalf("%s v%d cut at %d of %d: %v", name, req.GetVersion(), cut, len(body), err)
				}
			}
		}
	})
}

func TestUnknownRequestsAreNotDecoded(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		want         error
	}{
		{-1, 0, ErrUnknownAPI}, {kmsg.MaxKey + 1, 0, ErrUnknownAPI}, {0, 99, ErrUnsupportedVersion}, {0, -1, ErrUnsupportedVersion},
	} {
		if _, err := DecodeBody(Header{Key: c.key, Version: c.version}, make([]byte, 100)); !errors.Is(err, c.want) {
			t.Errorf("key %d v%d: %v, want %v", c.key, c.version, err, c.want)
		}
	}
}

// Each of these makes kmsg alone allocate gigabytes or count for minutes.
func TestForgedCountsCostNothing(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x0f} // 2^32-1
	fetch := make([]byte, 21)
	fetch = append(fetch, 1, 1, 1) // no topics, none forgotten, no rack
	cases := map[string]struct {
		key, version int16
		body         []byte
	}{
		"tags of ApiVersions":        {18, 3, append([]byte{1, 1}, huge...)},
		"tags within a tag of Fetch": {1, 18, append(append(fetch, 1, 1, 17), append(make([]byte, 12), huge...)...)},
		"topics of Metadata":         {3, 12, append(append([]byte{}, huge...), make([]byte, 1<<20)...)},
		"topics that fill the bytes": {3, 9, append(binary.AppendUvarint(nil, 2<<20), make([]byte, 2<<20)...)},
		"topics of CreateTopics":     {19, 0, append([]byte{0, 16, 0, 0}, make([]byte, 1<<20)...)},
		"partitions of Produce":      {0, 3, append([]byte{255, 255, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 16, 0, 0}, make([]byte, 1<<20)...)},
		"tags that fill the bytes":   {18, 3, append(append([]byte{1, 1}, binary.AppendUvarint(nil, 1<<20)...), make([]byte, 2<<20)...)},
	}
	for name, c := range cases {
		layout, _ := layoutOf(c.key, c.version)
		if checkLayout(layout, c.body) == nil { // kmsg must not see it
			t.Errorf("%s: passed", name)
			continue
		}
		got := allocated(func() {
			if _, err := DecodeBody(Header{Key: c.key, Version: c.version}, c.body); !errors.Is(err, ErrBadBody) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if got > 64<<10 {
			t.Errorf("%s: %d bytes", name, got)
		}
	}
}

func TestLargeHonestRequestsPass(t *testing.T) {
	produce := kmsg.NewPtrProduceRequest()
	produce.Version = 9
	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Version = 8
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 12
	group := kmsg.NewOffsetFetchRequestGroup()
	for i := range 500 {
		name := "topic-" + string(rune('a'+i%26))
		pt := kmsg.NewProduceRequestTopic()
		pt.Topic = name
		ot := kmsg.NewOffsetFetchRequestGroupTopic()
		ot.Topic = name
		for p := range int32(50) {
			pp := kmsg.NewProduceRequestTopicPartition()
			pp.Partition, pp.Records = p, make([]byte, 70)
			pt.Partitions = append(pt.Partitions, pp)
			ot.Partitions = append(ot.Partitions, p)
		}
		produce.Topics = append(produce.Topics, pt)
		group.Topics = append(group.Topics, ot)
	}
	for range 50_000 {
		mt := kmsg.NewMetadataRequestTopic()
		mt.Topic = kmsg.StringPtr("t")
		metadata.Topics = append(metadata.Topics, mt)
	}
	offsets.Groups = append(offsets.Groups, group)
	for _, req := range []kmsg.Request{produce, offsets, metadata} {
		body := req.AppendTo(nil)
		var err error
		got := allocated(func() {
			_, err = DecodeBody(Header{Key: req.Key(), Version: req.GetVersion()}, body)
		})
		if err != nil || got > costAllowance+costPerByte*len(body) {
			t.Errorf("%s: %d bytes for %d, %v", kmsg.NameForKey(req.Key()), got, len(body), err)
		}
	}
}

func BenchmarkDecodeProduce(b *testing.B) {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 9
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "orders"
	for p := range int32(8) {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = p, make([]byte, 16<<10)
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	body := req.AppendTo(nil)
	layout, _ := layoutOf(0, 9)
	b.Run("walk", func(b *testing.B) {
		for b.Loop() {
			if err := checkLayout(layout, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeBody(Header{Key: 0, Version: 9}, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
