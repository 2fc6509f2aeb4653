//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// subject is somebody to call.
type subject struct {
	name    string
	address string
	process *process // whose CPU time counts
	// request appends a whole request for call n, and expect what its answer must hold.
	request func(dst []byte, n uint64) []byte
	expect  func(dst []byte, n uint64) []byte
	open    func(c *conn) error // begins a session on a new connection; nil where none is needed
	conns   []*conn
}

// turn is what one subject did in one round.
type turn struct {
	rate         float64 // calls per second
	p50, p99, at time.Duration
	max          time.Duration
	cpu          time.Duration // of the subject's own process, per call
	calls        int
}

var serial atomic.Uint64 // no two calls of a run are the same

// conn is a client that sends a request and reads its answer, in one goroutine and without garbage, so that what is
// measured is not the client.
type conn struct {
	c    net.Conn
	r    *bufio.Reader
	out  []byte
	want []byte
	body []byte
	head []byte // header lines of the connection's session, put into each request
	sent []byte // the session that the last answer began
}

func dial(address string) (*conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, r: bufio.NewReaderSize(c, 16<<10)}, nil
}

func (c *conn) call(s *subject, n uint64) error {
	c.out = s.request(c.out[:0], n)
	if len(c.head) > 0 {
		c.out = slices.Insert(c.out, bytes.IndexByte(c.out, '\n')+1, c.head...)
	}
	if _, err := c.c.Write(c.out); err != nil {
		return err
	}
	status, err := c.read()
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", s.name, err)
	}
	c.want = s.expect(c.want[:0], n)
	if status != 200 || !bytes.Contains(c.body, c.want) {
		return fmt.Errorf("%s answered %d %s, want %s in it", s.name, status, c.body, c.want)
	}
	return nil
}

// read takes one answer with a Content-Length or in chunks.
func (c *conn) read() (status int, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, errors.New("no status line")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length, chunked := -1, false
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("Mcp-Session-Id")):
			c.sent = append(c.sent[:0], bytes.TrimSpace(value)...)
		}
	}
	c.body = c.body[:0]
	if chunked {
		return status, c.chunks()
	}
	if status == 202 || status == 204 {
		length = max(length, 0)
	}
	if length < 0 {
		return 0, errors.New("answer without a length")
	}
	return status, c.take(length)
}

func (c *conn) take(n int) error {
	at := len(c.body)
	c.body = slices.Grow(c.body, n)[:at+n]
	_, err := io.ReadFull(c.r, c.body[at:])
	return err
}

func (c *conn) chunks() error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if err := c.take(int(n)); err != nil {
			return err
		}
		if _, err := c.r.Discard(2); err != nil || n == 0 {
			return err
		}
	}
}

// turn has n clients call s in a closed loop for d. Connections are kept from turn to turn.
func (s *subject) turn(n int, d time.Duration) (turn, error) {
	if err := s.connect(n); err != nil {
		return turn{}, err
	}
	times := make([][]time.Duration, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	var cpu time.Duration
	if s.process != nil {
		cpu = s.process.cpu()
	}
	began := time.Now()
	for i := range n {
		wg.Go(func() {
			c := s.conns[i]
			for last := time.Now(); last.Sub(began) < d; {
				if errs[i] = c.call(s, serial.Add(1)); errs[i] != nil {
					return
				}
				now := time.Now()
				times[i] = append(times[i], now.Sub(last))
				last = now
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return turn{}, err
	}
	t := summarize(slices.Concat(times...), took)
	if s.process != nil {
		t.cpu = (s.process.cpu() - cpu) / time.Duration(t.calls)
	}
	return t, nil
}

// connect makes sure of n connections.
func (s *subject) connect(n int) error {
	for len(s.conns) < n {
		c, err := dial(s.address)
		if err == nil && s.open != nil {
			err = s.open(c)
		}
		if err != nil {
			return fmt.Errorf("connect to %s: %w", s.name, err)
		}
		s.conns = append(s.conns, c)
	}
	return nil
}

// summarize makes a turn of how long its calls took.
func summarize(all []time.Duration, took time.Duration) turn {
	slices.Sort(all)
	return turn{calls: len(all), rate: float64(len(all)) / took.Seconds(), p50: at(all, .5), p99: at(all, .99), at: at(all, .999), max: at(all, 1)}
}

// single has one client call all subjects in turn, call by call in random order, until each had d on average. What one
// call costs depends on which processor wakes whom at that moment more than on the subject; so all get the same moments.
func single(all []*subject, d time.Duration) ([]turn, error) {
	times := make([][]time.Duration, len(all))
	for _, s := range all {
		if err := s.connect(1); err != nil {
			return nil, err
		}
	}
	for began := time.Now(); time.Since(began) < d*time.Duration(len(all)); {
		for _, i := range rand.Perm(len(all)) {
			last := time.Now()
			if err := all[i].conns[0].call(all[i], serial.Add(1)); err != nil {
				return nil, err
			}
			times[i] = append(times[i], time.Since(last))
		}
	}
	turns := make([]turn, len(all))
	for i := range all {
		var took time.Duration
		for _, t := range times[i] {
			took += t
		}
		turns[i] = summarize(times[i], took)
	}
	return turns, nil
}

func at(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (s *subject) close() {
	for _, c := range s.conns {
		c.c.Close()
	}
	s.conns = nil
}
