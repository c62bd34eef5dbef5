//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a proxy does to requests.
const (
	faultLost      = "lost answer" // applied, and the connection cut before the answer
	faultReset     = "reset"       // cut, and not applied
	faultSlow      = "slow"        // applied and answered, later
	faultTwice     = "put twice"   // the same bytes put twice, the second answer
	faultSlowDown  = "503 SlowDown"
	faultBlackHole = "black hole" // neither applied nor answered while it lasts
)

// proxy stands between a broker and an S3 server and does to requests what networks
// and servers in trouble do. What happens to which request is drawn from a seed.
type proxy struct {
	server   *httptest.Server
	upstream string // host:port
	client   *http.Client
	kinds    []string // of the faults that single requests meet, the more often the more likely

	mu       sync.Mutex
	random   *rand.Rand     // guarded by mu
	share    float64        // of requests that meet a fault of their own; guarded by mu
	storm    string         // what happens to all requests now, "" for nothing; guarded by mu
	over     chan struct{}  // closed when the storm is over; guarded by mu
	counts   map[string]int // by fault; guarded by mu
	requests int            // guarded by mu
}

// seldom are the faults of single requests unless a test says otherwise.
var seldom = []string{faultLost, faultLost, faultReset, faultSlow, faultTwice, faultSlowDown}

// startProxy starts a proxy to a server that lets everything pass until it is told
// otherwise.
func startProxy(t *testing.T, upstream string, seed uint64) *proxy {
	t.Helper()
	p := &proxy{
		upstream: upstream, kinds: seldom, counts: map[string]int{}, over: make(chan struct{}),
		random: rand.New(rand.NewPCG(seed, 1)),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}},
	}
	p.server = httptest.NewUnstartedServer(p)
	p.server.Config.ErrorLog = nil
	p.server.Start()
	t.Cleanup(func() {
		p.calm()
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

// before is a store as it is seen through the proxy.
func (p *proxy) before(s store) store {
	s.past = s.env
	s.env = slices.Clone(s.env)
	for i, v := range s.env {
		if strings.HasPrefix(v, "AWS_ENDPOINT_URL=") {
			s.env[i] = "AWS_ENDPOINT_URL=" + p.server.URL
		}
	}
	return s
}

// disturb lets a share of all requests meet a fault of their own.
func (p *proxy) disturb(share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.share = share
}

// begin has all requests meet a fault until calm.
func (p *proxy) begin(fault string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.storm = fault
}

// calm ends what was begun; what hangs in a black hole is cut.
func (p *proxy) calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.storm = ""
	close(p.over)
	p.over = make(chan struct{})
}

// weather makes storms, with calm times in between, until ctx ends.
func (p *proxy) weather(ctx context.Context, longest time.Duration) {
	for {
		p.mu.Lock()
		calm := time.Duration(1+p.random.IntN(5)) * time.Second
		fault := []string{faultSlowDown, faultSlowDown, faultSlow, faultBlackHole}[p.random.IntN(4)]
		// Long ones are rare.
		storm := time.Duration(float64(longest) * p.random.Float64() * p.random.Float64() * p.random.Float64())
		p.mu.Unlock()
		for _, stage := range []struct {
			fault string
			d     time.Duration
		}{{"", calm}, {fault, storm}} {
			if stage.fault != "" {
				p.begin(stage.fault)
			}
			select {
			case <-ctx.Done():
				p.calm()
				return
			case <-time.After(stage.d):
			}
		}
		p.calm()
	}
}

// draw decides what happens to a request.
func (p *proxy) draw(r *http.Request) (fault string, delay time.Duration, over <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.storm == faultSlowDown && p.random.Float64() < 0.2: // some get through
	case p.storm != "":
		fault = p.storm
	case p.random.Float64() < p.share:
		fault = p.kinds[p.random.IntN(len(p.kinds))]
		if fault == faultTwice && r.Method != http.MethodPut {
			fault = faultLost
		}
	}
	if p.requests++; fault != "" {
		p.counts[fault]++
	}
	return fault, time.Duration(p.random.Int64N(int64(2 * time.Second))), p.over
}

// met is how many requests have met a fault.
func (p *proxy) met() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, of := range p.counts {
		n += of
	}
	return n
}

// injected tells how many faults of each kind there were.
func (p *proxy) injected() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(p.counts)) {
		all = append(all, fmt.Sprintf("%s %d", kind, p.counts[kind]))
	}
	errors := p.counts[faultLost] + p.counts[faultReset] + p.counts[faultSlowDown] + p.counts[faultBlackHole]
	return fmt.Sprintf("%d errors in %d requests: %s", errors, p.requests, strings.Join(all, ", "))
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		cut(w)
		return
	}
	fault, delay, over := p.draw(r)
	switch fault {
	case faultReset:
		cut(w)
		return
	case faultBlackHole:
		select {
		case <-r.Context().Done():
		case <-over:
		}
		cut(w)
		return
	case faultSlowDown:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		if r.Method != http.MethodHead {
			io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
		}
		return
	case faultSlow:
		time.Sleep(delay)
	case faultTwice:
		if resp, _, err := p.forward(r, body); err == nil && resp.StatusCode >= 500 {
			break // the second attempt counts all the more
		}
	}
	resp, answer, err := p.forward(r, body)
	if err != nil || fault == faultLost {
		cut(w)
		return
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	w.Write(answer)
}

// forward sends the request on, whether or not the client still waits for it. Its
// signature is of the host that the client named.
func (p *proxy) forward(r *http.Request, body []byte) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 30*time.Second)
	defer cancel()
	out := r.Clone(ctx)
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = "http", p.upstream
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		out.Body = http.NoBody // else its length is taken for unknown
	}
	out.TransferEncoding = nil
	out.Header.Del("Expect")
	resp, err := p.client.Do(out)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp, answer, err
}

// cut ends the connection as a crash does: by a reset, in the middle of things.
func cut(w http.ResponseWriter) {
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	nc.Close()
}
