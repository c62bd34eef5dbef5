package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// DefaultMaxFrame is the largest request that a broker reads unless told
	// otherwise: Kafka's default of socket.request.max.bytes.
	DefaultMaxFrame = 100 << 20

	sizeLen = 4 // a frame is its size, int32, and that many bytes
	// keyLen is the API key and version that begin every request.
	keyLen = 4
	// minRequest is the shortest request: key, version, correlation id.
	minRequest = 8

	// A frame's buffer starts with firstChunk bytes and grows by growth as they
	// arrive: who claims 100 MiB and sends nothing costs 4 KiB, who sends them
	// has a third of them copied once.
	firstChunk = 4 << 10
	growth     = 4
	// A frame of ordinary size, which the batches that clients send by default fit in, is
	// allocated whole when startedChunk of it are here: most of it is then copied never.
	ordinaryFrame = 2 << 20
	startedChunk  = 64 << 10
)

// A Preamble is what the first eight bytes of a request say. It lets a server
// judge a request by kind and size before it takes memory for the rest:
// hold back Produce while memory is short, keep unauthenticated peers small.
type Preamble struct {
	Size    int   // bytes of the frame, without the size field itself
	Key     int16 // of the API
	Version int16 // of the API
}

// ReadPreamble reads the size, API key and version of the next request, at most
// maxSize bytes long. Follow it with ReadRest on the same reader.
//
// Errors: io.EOF if r ends before the first byte (the peer is done),
// io.ErrUnexpectedEOF if within, ErrFrameTooLarge, ErrBadFrame, else r's own.
func ReadPreamble(r io.Reader, maxSize int) (Preamble, error) {
	size, err := readSize(r, maxSize)
	if err != nil {
		return Preamble{}, err
	}
	var b [keyLen]byte
	if err := readFull(r, b[:]); err != nil {
		return Preamble{}, err
	}
	return Preamble{
		Size:    size,
		Key:     int16(binary.BigEndian.Uint16(b[0:])),
		Version: int16(binary.BigEndian.Uint16(b[2:])),
	}, nil
}

// ReadRest reads the rest of the request and returns the whole frame, from
// the API key on, for ParseHeader. The memory is new and the caller's: record
// batches in it may be kept by reference. No more than growth times what
// has arrived (at least firstChunk) is allocated at any time, or ordinaryFrame.
func (p Preamble) ReadRest(r io.Reader) ([]byte, error) {
	frame := make([]byte, min(p.Size, firstChunk))
	binary.BigEndian.PutUint16(frame[0:], uint16(p.Key))
	binary.BigEndian.PutUint16(frame[2:], uint16(p.Version))
	return readRest(r, frame, keyLen, p.Size)
}

// readSize reads a frame's size and checks it.
func readSize(r io.Reader, most int) (int, error) {
	var b [sizeLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err // io.EOF only if nothing was read
	}
	size := int(int32(binary.BigEndian.Uint32(b[:])))
	switch {
	case size < minRequest:
		return 0, fmt.Errorf("%w: size %d", ErrBadFrame, size)
	case size > most:
		return 0, fmt.Errorf("%w: %d bytes, limit %d", ErrFrameTooLarge, size, most)
	}
	return size, nil
}

// readRest fills buf from have on and grows it until it holds size bytes.
func readRest(r io.Reader, buf []byte, have, size int) ([]byte, error) {
	for {
		if err := readFull(r, buf[have:]); err != nil {
			return nil, err
		}
		if have = len(buf); have == size {
			return buf, nil
		}
		next := min(size, growth*have)
		if have >= startedChunk && size <= ordinaryFrame {
			next = size
		}
		bigger := make([]byte, next)
		copy(bigger, buf)
		buf = bigger
	}
}

// readFull is io.ReadFull within a frame, where no end is a good end.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
