//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
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
		}
	}
	c.body = c.body[:0]
	if chunked {
		return status, c.chunks()
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
	for len(s.conns) < n {
		c, err := dial(s.address)
		if err != nil {
			return turn{}, fmt.Errorf("dial %s: %w", s.name, err)
		}
		s.conns = append(s.conns, c)
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
	all := slices.Concat(times...)
	slices.Sort(all)
	t := turn{calls: len(all), rate: float64(len(all)) / took.Seconds(), p50: at(all, .5), p99: at(all, .99), at: at(all, .999), max: at(all, 1)}
	if s.process != nil {
		t.cpu = (s.process.cpu() - cpu) / time.Duration(len(all))
	}
	return t, nil
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
