//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/integration/setup"
)

// stopTimeout bounds the orderly end of a process; sluice drains within 20 s.
const stopTimeout = 30 * time.Second

// process is a program that a test started. It ends with the test.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *lines // standard output
	err  *lines // standard error

	ended chan struct{} // closed when the process has ended and waitErr is set
	state error         // what Wait said
}

// start starts a program in a directory of its own with env added to the
// environment. If the test fails, the log shows the end of what the program
// wrote.
func start(t *testing.T, name string, env []string, command ...string) *process {
	t.Helper()
	return startIn(t, t.TempDir(), name, env, command...)
}

// startIn starts a program in this directory.
func startIn(t *testing.T, dir, name string, env []string, command ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, out: &lines{}, err: &lines{}, ended: make(chan struct{})}
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	// Its own group, so that its children end with it; and it does not outlive a
	// test binary that is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = stopTimeout
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		p.state = p.cmd.Wait()
		p.out.close()
		p.err.close()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s: standard output, its end:\n%s", name, p.out.tail(20))
			t.Logf("%s: standard error, its end:\n%s", name, p.err.tail(40))
		}
	})
	return p
}

// startWith starts a program with text as all of its standard input.
func startWith(t *testing.T, text, name string, env []string, command ...string) *process {
	t.Helper()
	p := start(t, name, env, command...)
	if _, err := io.WriteString(p.in, text); err != nil {
		t.Fatal(err)
	}
	p.in.Close()
	return p
}

// kill ends the process and its children by SIGKILL and waits for the end.
func (p *process) kill() {
	select {
	case <-p.ended:
		return
	default:
	}
	// The group's id stays ours until Wait has returned, which is after ended.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// terminate asks the process to end.
func (p *process) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
}

// signal sends a signal to the process.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// wait is the exit code of a process that ends within the time.
func (p *process) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("%s has not ended within %s", p.name, within)
	}
	var exit *exec.ExitError
	if p.state != nil && !errors.As(p.state, &exit) {
		p.t.Fatalf("%s: %v", p.name, p.state)
	}
	return p.cmd.ProcessState.ExitCode()
}

// lines collects what a program writes, line by line.
type lines struct {
	mu      sync.Mutex
	all     []string
	partial []byte
}

// Write takes what the program wrote; exec calls it from one goroutine.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			break
		}
		l.all = append(l.all, string(l.partial[:i]))
		l.partial = l.partial[i+1:]
	}
	return len(p), nil
}

// close ends the last line, if the program did not.
func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.all, l.partial = append(l.all, string(l.partial)), nil
	}
}

// sofar is what was written.
func (l *lines) sofar() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all // only ever appended to
}

func (l *lines) tail(n int) string {
	all := l.sofar()
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

func (l *lines) String() string { return l.tail(1 << 30) }

// freeAddress is an address of the loopback interface whose port nobody has.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := setup.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// scanLines calls f for each line of text.
func scanLines(text string, f func(line []byte)) {
	s := bufio.NewScanner(strings.NewReader(text))
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		f(s.Bytes())
	}
}

// script is the path of a script in this folder.
func script(path ...string) string { return filepath.Join(append([]string{source}, path...)...) }
