package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// writeBulk does what frame.WriteTo(nc) does, with the same errors, but as many
// connections at a time as turns has room for, of bulkPiece bytes each. The copy of some MiB
// into a socket is work of the kernel, and a goroutine that is in the kernel does not count
// for GOMAXPROCS: answers for forty clients were forty threads, behind which a commit
// waited at each of its steps. Nobody holds a turn while a socket has no room.
func writeBulk(nc net.Conn, frame *net.Buffers, turns chan struct{}) (sent int64, err error) {
	socket, ok := nc.(syscall.Conn)
	if !ok { // in memory, in tests
		return frame.WriteTo(nc)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var parts [][]byte
	var failed error
	err = raw.Write(func(fd uintptr) (done bool) {
		for len(*frame) > 0 {
			parts = head(parts[:0], *frame, bulkPiece)
			turns <- struct{}{}
			n, err := unix.Writev(int(fd), parts)
			<-turns
			switch {
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				return false // called again when there is room, within the deadline
			case err != nil:
				failed = os.NewSyscallError("writev", err)
				return true
			case n == 0: // it does not happen on sockets, and would be a loop
				failed = io.ErrUnexpectedEOF
				return true
			default:
				sent += int64(n)
				drop(frame, n)
			}
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return sent, err
}

// maxParts bounds the parts of one write; the kernel's bound is 1,024 (IOV_MAX).
const maxParts = 128

// head appends to parts the first size bytes of a frame.
func head(parts [][]byte, frame net.Buffers, size int) [][]byte {
	for _, b := range frame {
		if size == 0 || len(parts) == maxParts {
			break
		}
		b = b[:min(len(b), size)]
		size -= len(b)
		parts = append(parts, b)
	}
	return parts
}

// drop takes the first n bytes off a frame.
func drop(frame *net.Buffers, n int) {
	for len(*frame) > 0 {
		first := &(*frame)[0]
		if n < len(*first) {
			*first = (*first)[n:]
			return
		}
		n -= len(*first)
		*first = nil
		*frame = (*frame)[1:]
	}
}
