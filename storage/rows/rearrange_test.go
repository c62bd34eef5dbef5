package rows

import (
	"fmt"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sluice/protocol/record"
)

func TestRowsWithoutPlacesAreMadeAnewAtThoseGiven(t *testing.T) {
	type loose struct {
		Partition *int32   `parquet:"partition,optional"`
		Offset    *int64   `parquet:"offset,optional"`
		Timestamp *int64   `parquet:"timestamp,optional,timestamp(nanosecond:utc)"`
		Key       []byte   `parquet:"key,optional"`
		Value     *string  `parquet:"value,optional"`
		Headers   []header `parquet:"headers,optional,list"`
	}
	const n = 1000
	var groups [][]loose
	for g := range 3 {
		var rows []loose
		for i := range n {
			value := fmt.Sprint(g*n + i)
			row := loose{Value: &value}
			if i%2 == 0 {
				row.Key = []byte("k" + value)
			}
			if i%5 == 0 {
				ns := int64(1_700_000_000_000_000_000 + i*1000)
				row.Timestamp = &ns
			}
			if i%7 == 0 {
				row.Headers = []header{h("a", []byte("x")), h("b", nil)}
			}
			if i == 3 {
				partition, offset := int32(4), int64(g)
				row.Partition, row.Offset = &partition, &offset
			}
			rows = append(rows, row)
		}
		groups = append(groups, rows)
	}
	for name, options := range map[string][]parquet.WriterOption{
		"large pages": nil, "small pages": {parquet.PageBufferSize(500)},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, writeForeign(t, groups, options...))
			stretches, err := r.Stretches(t.Context())
			if err != nil || len(stretches) != 3 || stretches[2] != (Stretch{4, 2, 2*n + 3, 1}) {
				t.Fatal(stretches, err)
			}
			row, total := int64(0), 0
			next := map[int32]int64{}
			for {
				w, err := r.Window(t.Context(), row, 10_000)
				if err != nil {
					t.Fatal(err)
				}
				if len(w.Rows) == 0 {
					break
				}
				places := make([]Place, len(w.Rows))
				want := map[Place]string{}
				for i, x := range w.Rows {
					at := int(row) + i
					if (x.Key == nil) != (at%2 == 1) || (x.Offset != -1) != (at%n == 3) || (x.Timestamp == record.NoTimestamp) != (at%n%5 != 0) {
						t.Fatalf("row %d: %+v", at, x)
					}
					p := int32(at % 3)
					if places[i] = (Place{p, next[p] + 10, 5, record.CreateTime}); at%11 == 0 {
						places[i].Partition = -1 // left out
						continue
					}
					want[Place{Partition: p, Offset: next[p] + 10}] = fmt.Sprint(at)
					next[p]++
				}
				batches, err := w.Batches(places)
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range batches {
					_, recs := records(t, []Encoded{{First: b.Data.BaseOffset(), Last: b.Data.LastOffset(), Records: int(b.Data.NumRecords()), MaxTimestamp: b.Data.MaxTimestamp(), Data: b.Data}})
					for _, rec := range recs {
						at := Place{Partition: b.Partition, Offset: rec.offset}
						if v, ok := want[at]; !ok || v != string(rec.value) || rec.ms != 5 {
							t.Fatalf("%+v holds %q, want %q", at, rec.value, v)
						}
						delete(want, at)
						total++
					}
				}
				if len(want) != 0 {
					t.Fatal("rows are missing:", len(want))
				}
				row += int64(len(w.Rows))
				w.Close()
			}
			if row != 3*n || total != 3*n-(3*n+10)/11 {
				t.Error(row, "rows,", total, "records")
			}
		})
	}
}
