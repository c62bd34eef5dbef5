package rows

import (
	"fmt"
	"slices"

	"sluice/protocol/record"
)

// MinPack is the least size of a batch, decompressed, for which a Packer is meant, in
// bytes: one page. Smaller batches share pages in the file that is made of them.
const MinPack = pageBytes

// Packer makes Pages of single batches as they come, so that little is left to do when the
// file is made of them: what takes most of the time is then done while the file before
// is uploaded. It keeps its buffers; one goroutine at a time may use it. Its zero value
// is ready.
type Packer struct {
	packer
	cols columns
}

// Pack packs a batch that has passed record.Check and has its final timestamps; body is its
// records, decompressed. The Pages keep nothing of both, and have to be given their Place.
// Their payload lies in memory that is asked of alloc, of the length that it says.
func (p *Packer) Pack(data record.Batch, body []byte, codec Codec, alloc func(size int) []byte) (*Pages, error) {
	if err := p.w.init(codec); err != nil {
		return nil, err
	}
	c := &p.cols
	c.reset()
	if err := c.add(Batch{Data: data}, body); err != nil {
		return nil, err
	}
	if c.n == 0 || c.offsets[c.n-1] != int64(c.n-1) {
		return nil, fmt.Errorf("%w: offsets with gaps", ErrUnsupported)
	}
	out := &Pages{
		Range:  Range{First: 0, Last: int64(c.n - 1), Rows: int64(c.n)},
		codec:  codec.id(),
		full:   c.size(),
		micros: slices.Clone(c.micros), noTime: c.noTime, types: slices.Clone(c.types),
		payload: p.pack(c, codec.id(), alloc),
	}
	for i := range out.payload {
		out.Packed += len(out.payload[i].bytes)
	}
	c.shrink()
	return out, nil
}

// Place says where packed rows go: to a partition, from offset base on.
func (p *Pages) Place(partition int32, base int64) {
	p.Range = Range{partition, base, base + p.Rows - 1, p.Rows}
}

// packer packs the payload of columns into pages of their own.
type packer struct {
	w columnWriter
}

// pack packs the payload of all rows in c that are not packed yet.
func (p *packer) pack(c *columns, codec int32, alloc func(size int) []byte) (out payload) {
	w := &p.w
	w.out, w.pages, w.chunks = w.out[:0], w.pages[:0], w.chunks[:0]
	w.writePayload(c, codec)
	body, pages := alloc(len(w.out)), slices.Clone(w.pages)
	copy(body, w.out)
	for i, m := range w.chunks {
		mine := pages[m.firstPage:m.lastPage:m.lastPage]
		for j := range mine {
			mine[j].offset -= m.start
		}
		out[i] = packedChunk{bytes: body[m.start:m.end:m.end], pages: mine, values: m.values, nulls: m.nulls, full: m.uncompressed}
	}
	return out
}

// seal packs what of c is not packed yet, so that other pages may follow it.
func (p *packer) seal(c *columns, codec int32) {
	if len(c.headers) == 0 {
		return
	}
	packed := p.pack(c, codec, func(size int) []byte { return make([]byte, size) })
	c.resetPayload()
	c.copy(&packed)
}
