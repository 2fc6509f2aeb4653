//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// streamsPart measures what idle streams hold, how long an event is under way and whether a big result is held.
func (b *bench) streamsPart() error {
	if err := enoughFiles(b.streams); err != nil {
		return err
	}
	_, backend, err := b.role("backend")
	if err != nil {
		return err
	}
	dir := b.dir("streams")
	if err := writeRegistry(dir, backend, 10, 0); err != nil {
		return err
	}
	for _, kind := range []struct {
		service, name string
		goal          float64
	}{{"store", "answered by the proxy", 32}, {"echo", "relayed", 64}} {
		if err := b.idleStreams(dir, kind.service, kind.name, kind.goal); err != nil {
			return err
		}
	}
	p, address, err := b.serve("stream-calls", dir)
	if err != nil {
		return err
	}
	s := b.subject(passthrough, p, address, "/mcp/echo")
	if b.consumers > 10 {
		s.request, s.expect = echo("/mcp/echo", 10)
	}
	if err := warm(s); err != nil {
		return err
	}
	if err := b.eventDelay(backend, address); err != nil {
		return err
	}
	return b.bigResults(p, address)
}

// restTime is after how long without work the proxy has given back what work took (internal/app/collector.go).
const restTime = 13 * time.Second

// idleStreams opens GET streams and weighs them.
func (b *bench) idleStreams(dir, service, name string, goal float64) error {
	p, address, err := b.serve("streams-"+service, dir)
	if err != nil {
		return err
	}
	s := &subject{name: service, address: address, process: p}
	if s.request, s.expect = echo("/mcp/echo", 10); service == "store" {
		s.request, s.expect = getItem("/mcp/store", "get_item", 10)
	}
	if err := warm(s); err != nil {
		return err
	}
	s.close()
	time.Sleep(restTime)
	before, err := p.settled()
	if err != nil {
		return err
	}
	conns := make([]*conn, b.streams)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.c.Close()
			}
		}
	}()
	for i := range conns {
		if conns[i], err = openStream(address, service); err != nil {
			return fmt.Errorf("stream %d of %s: %w", i, service, err)
		}
	}
	time.Sleep(restTime)
	after, err := p.settled()
	if err != nil {
		return err
	}
	for i, c := range conns { // a stream that has ended weighs nothing
		_ = c.c.SetReadDeadline(time.Now().Add(time.Millisecond / 10))
		if _, err := c.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) && err != nil {
			return fmt.Errorf("stream %d of %s ended: %w", i, service, err)
		}
	}
	b.result.measure(measure{Name: fmt.Sprintf("an idle stream of %d, %s", b.streams, name), Unit: " KB resident", Goal: goal, AtMost: true}, float64(after-before)/1024/float64(b.streams))
	return nil
}

// openStream begins a session of its own and opens its stream.
func openStream(address, service string) (*conn, error) {
	c, err := dial(address)
	if err != nil {
		return nil, err
	}
	if err := c.initialize("/mcp/"+service, 0); err != nil {
		c.c.Close()
		return nil, err
	}
	c.r = bufio.NewReaderSize(c.c, 16) // all of them wait
	request := fmt.Appendf(nil, "GET /mcp/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\nAuthorization: Bearer %s\r\n%s\r\n", service, key(0), c.head)
	if _, err := c.c.Write(request); err != nil {
		return c, err
	}
	head := make([]byte, 12)
	if _, err := io.ReadFull(c.c, head); err != nil || !bytes.HasSuffix(head, []byte("200")) {
		return c, fmt.Errorf("answered %s: %w", head, err)
	}
	return c, c.c.SetReadDeadline(time.Time{})
}

// initialize begins a session and keeps its header for what follows on the connection.
func (c *conn) initialize(path string, consumer uint64) error {
	c.out = post(c.out[:0], path, consumer, []byte(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`))
	c.sent, c.head = c.sent[:0], c.head[:0]
	if _, err := c.c.Write(c.out); err != nil {
		return err
	}
	status, err := c.read()
	if err != nil || status != 200 || !bytes.Contains(c.body, []byte(`"serverInfo"`)) {
		return fmt.Errorf("initialize: %d %s: %w", status, c.body, err)
	}
	if len(c.sent) > 0 {
		c.head = fmt.Appendf(nil, "Mcp-Session-Id: %s\r\n", c.sent)
	}
	return nil
}

// enoughFiles sees that this process and the proxy may hold n streams; a relayed one takes two files in the proxy.
func enoughFiles(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if need := uint64(2*n + 200); limit.Max < need {
		return fmt.Errorf("%d streams need %d open files, but the hard limit is %d: raise it (ulimit -Hn %d) or ask for fewer with --streams", n, need, limit.Max, need)
	}
	return nil // Go raises the soft limit to the hard one by itself
}

// eventDelay compares how long events take from the backend's clock to the client's, direct and through the proxy, at
// the same time.
func (b *bench) eventDelay(backend, address string) error {
	var added []float64
	for range max(3, b.rounds/2) {
		var delays [2][]time.Duration
		var errs [2]error
		var wg sync.WaitGroup
		for i, to := range []struct{ address, path string }{{backend, "/mcp"}, {address, "/mcp/echo"}} {
			wg.Go(func() { delays[i], errs[i] = listen(to.address, to.path) })
		}
		wg.Wait()
		for i := range delays {
			if errs[i] != nil || len(delays[i]) != tickCount {
				return fmt.Errorf("events: got %d of %d: %w", len(delays[i]), tickCount, errs[i])
			}
			slices.Sort(delays[i])
		}
		added = append(added, micros(at(delays[1], .5)-at(delays[0], .5)))
	}
	b.result.measure(measure{Name: "delay added to an event, p50", Unit: " µs", Goal: 200, AtMost: true}, added...)
	return nil
}

func listen(address, path string) ([]time.Duration, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write(post(nil, path, 0, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"ticks"}}}`))); err != nil {
		return nil, err
	}
	var out []time.Duration
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadBytes('\n')
		now := time.Now().UnixNano()
		if err != nil {
			return out, err
		}
		if sent := between(line, `"data":`, "}"); sent != nil {
			n, err := strconv.ParseInt(string(sent), 10, 64)
			if err != nil {
				return out, err
			}
			out = append(out, time.Duration(now-n))
		}
		if bytes.Contains(line, []byte(`"result"`)) {
			return out, nil
		}
	}
}

// bigResults asks for results of 10 MiB and looks at the highest memory.
func (b *bench) bigResults(p *process, address string) error {
	before, err := p.settled()
	if err != nil {
		return err
	}
	s := &subject{name: "big result", address: address}
	s.request = func(dst []byte, n uint64) []byte {
		body := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"big"}}}`, n)
		return post(dst, "/mcp/echo", 0, body)
	}
	s.expect = func(dst []byte, _ uint64) []byte { return append(dst, `0123456789abcdef"}]}}`...) }
	for range 3 {
		if _, err := s.turn(4, 300*time.Millisecond); err != nil {
			return err
		}
	}
	s.close()
	peak, err := p.memory("VmHWM")
	if err != nil {
		return err
	}
	b.result.measure(measure{Name: "memory added by 4 results of 10 MiB at once", Unit: " MB", Goal: 4, AtMost: true}, float64(peak-before)/1e6)
	return nil
}
