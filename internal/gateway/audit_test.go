package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/clocktest"
)

// sink is where the lines of a test go; it can be told to fail after some bytes, or to hang.
type sink struct {
	mu    sync.Mutex
	b     bytes.Buffer
	room  int // bytes until it fails; negative: any number
	gate  chan struct{}
	wrote int
}

func (s *sink) Write(p []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote++
	if s.room >= 0 && len(p) > s.room {
		n := s.room
		s.b.Write(p[:n])
		s.room = 0
		return n, errors.New("no space left on device")
	}
	if s.room >= 0 {
		s.room -= len(p)
	}
	return s.b.Write(p)
}

func (s *sink) setRoom(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = n
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newTestAudit(t *testing.T, s *sink, o AuditOptions) *Audit {
	t.Helper()
	o.Sink = s
	a := NewAudit(o)
	t.Cleanup(a.Close)
	return a
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// hostile is a Record each of whose texts is what a client would send to forge a line.
func hostile(text string) *Record {
	return &Record{
		Time: time.Unix(1, 0), Consumer: text, KeyID: text, Service: text, Version: text, Tool: []byte(text), Method: text, Reason: text,
		TraceID: text, Client: text, Detail: text, Arguments: []byte(text),
	}
}

// Seen to fail with a field taken out of appendJSON, and with the duration in another unit.
func TestAuditLineHoldsAllThatIsKnownOfADecision(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 1000, time.FixedZone("", 3600))
	for _, c := range []struct {
		name   string
		record Record
		want   string
	}{
		{"all of it", Record{
			Time: at, Consumer: "alice", KeyID: "laptop", Service: "petstore", Version: "1.0.0", Tool: []byte("get_pet"), Method: "tools/call",
			Allowed: true, Reason: "granted", Status: 200, Bytes: 512, Duration: 12345678, RequestID: []byte(`"a-1"`),
			TraceID: "0af7651916cd43dd8448eb211c80319c", Client: "10.1.2.3", Detail: "d", Arguments: []byte(`{"id":7}`),
		}, `{"time":"2026-11-23T11:00:00.000001Z","decision":"allow","reason":"granted","consumer":"alice","key":"laptop","service":"petstore","version":"1.0.0","method":"tools/call","tool":"get_pet","status":200,"bytes":512,"durationMs":12.345,"requestId":"a-1","traceId":"0af7651916cd43dd8448eb211c80319c","client":"10.1.2.3","detail":"d","arguments":"{\"id\":7}"}`},
		{"what is unknown is left out", Record{Time: at, Service: "x", Reason: "no key", Status: 401, RequestID: []byte("9007199254740993")},
			`{"time":"2026-11-23T11:00:00.000001Z","decision":"deny","reason":"no key","service":"x","status":401,"bytes":0,"durationMs":0,"requestId":9007199254740993}`},
		{"keys are left out wherever they stand", Record{Time: at, Service: "nmp_a_secret/x", Tool: []byte("nmp_b_secret"), Detail: "at nmp_c_secret and nmp_d_secret.", RequestID: []byte(`"nmp_e_secret"`), Arguments: []byte(`{"k":"nmp_f_secret"}`)},
			`{"time":"2026-11-23T11:00:00.000001Z","decision":"deny","service":"nmp_…/x","tool":"nmp_…","detail":"at nmp_… and nmp_…","status":0,"bytes":0,"durationMs":0,"requestId":"\"nmp_…\"","arguments":"{\"k\":\"nmp_…\"}"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(c.record.appendJSON(nil))
			if diff := cmp.Diff(fields(t, c.want), fields(t, got)); diff != "" {
				t.Errorf("line differs: %s\n%s", diff, got)
			}
		})
	}
}

func fields(t *testing.T, line string) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("line is no JSON: %v\n%s", err, line)
	}
	return m
}

// Seen to fail with the text appended as it came.
func TestAuditLinesCannotBeForged(t *testing.T) {
	for _, text := range []string{
		"a\r\n{\"decision\":\"allow\",\"consumer\":\"eve\"}", "\n", "\r", "\x00\x1b[2J", "\u2028", "\u2029", "\x85", "\xff\xfe", `","decision":"allow","x":"`, `\`, `\u000a`,
	} {
		line := hostile(text).appendJSON(nil)
		if bytes.ContainsAny(line, "\r\n\x00\x1b\u2028\u2029") {
			t.Errorf("%q: control characters came through: %q", text, line)
		}
		if got := fields(t, string(line)); got["decision"] != "deny" {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestAuditLineIsBounded(t *testing.T) {
	r := hostile(strings.Repeat("ä", 1<<20))
	r.RequestID = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	if n := len(r.appendJSON(nil)); n > maxAuditArguments+maxAuditDetail+12*maxAuditText {
		t.Errorf("a line of %d bytes", n)
	}
}

func FuzzAuditLine(f *testing.F) {
	f.Add("alice", `{"a":1}`)
	f.Add("\r\n\u2028nmp_x_y", "\xff")
	f.Fuzz(func(t *testing.T, text, arguments string) {
		r := hostile(text)
		r.Arguments = []byte(arguments)
		line := r.appendJSON(nil)
		if !json.Valid(line) || bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("%q", line)
		}
		if strings.Contains(text, keyPrefix+"canary") && bytes.Contains(line, []byte(keyPrefix+"canary")) {
			t.Fatalf("a key came through: %s", line)
		}
	})
}

// Seen to fail with lost not counting, and without the line break after a torn line.
func TestFailingAuditSinkIsCountedAndComesBack(t *testing.T) {
	var log bytes.Buffer
	s := &sink{room: -1}
	a := newTestAudit(t, s, AuditOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	a.Write(&Record{Service: "first"})
	await(t, "the first line is written", func() bool { return a.Lines() == 1 })
	s.setRoom(10)
	a.Write(&Record{Service: "torn"})
	await(t, "the torn line is counted", func() bool { return a.Failed() == 1 })
	a.Write(&Record{Service: "lost"})
	await(t, "the lost line is counted", func() bool { return a.Failed() == 2 })
	if a.refuses() {
		t.Error("calls are refused though nobody asked for that")
	}
	s.setRoom(-1)
	a.Write(&Record{Service: "last"})
	await(t, "the last line is written", func() bool { return a.Lines() == 2 })
	a.Close()
	lines := strings.Split(strings.TrimSpace(s.text()), "\n")
	if len(lines) != 3 || fields(t, lines[0])["service"] != "first" || fields(t, lines[2])["service"] != "last" {
		t.Errorf("lines: %q", lines)
	}
	if n := strings.Count(log.String(), "audit log cannot be written"); n != 1 || !strings.Contains(log.String(), "can be written again") {
		t.Errorf("log: %s", log.String())
	}
}

// Seen to fail with the sink written to by Write itself.
func TestHangingAuditSinkStopsNoCall(t *testing.T) {
	s := &sink{room: -1, gate: make(chan struct{})}
	a := newTestAudit(t, s, AuditOptions{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	record := &Record{Arguments: bytes.Repeat([]byte("x"), maxAuditArguments)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 * maxAuditPending / maxAuditArguments {
			a.Write(record)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("calls wait for the sink")
	}
	if a.Failed() == 0 {
		t.Error("what did not fit is not counted")
	}
	close(s.gate)
	a.Close()
	if got, want := a.Lines()+a.Failed(), int64(2*maxAuditPending/maxAuditArguments); got != want {
		t.Errorf("%d lines accounted for, want %d", got, want)
	}
}

// Seen to fail with refuses always false.
func TestRequiredAuditRefusesWhileItsSinkFails(t *testing.T) {
	s := &sink{room: 0}
	a := newTestAudit(t, s, AuditOptions{Required: true, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if a.refuses() {
		t.Error("refuses before anything has failed")
	}
	a.Write(&Record{})
	await(t, "calls are refused", a.refuses)
	s.setRoom(-1)
	a.Write(&Record{})
	await(t, "calls are let in again", func() bool { return !a.refuses() })
}

func TestAuditWantsWhatIsConfigured(t *testing.T) {
	var none *Audit
	if none.wants(false) || none.refuses() {
		t.Error("no audit wants something")
	}
	denials := newTestAudit(t, &sink{room: -1}, AuditOptions{})
	all := newTestAudit(t, &sink{room: -1}, AuditOptions{Allowed: true})
	if got := []bool{denials.wants(false), denials.wants(true), all.wants(false), all.wants(true)}; !reflect.DeepEqual(got, []bool{true, false, true, true}) {
		t.Errorf("wants: %v", got)
	}
}

func TestTraceIDOfTraceparent(t *testing.T) {
	for header, want := range map[string]string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": "0af7651916cd43dd8448eb211c80319c",
		"": "", "00": "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01":       "",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01":       "",
		"00-\r\n{\"decision\":\"allow\"}xxxxxxx-b7ad6b7169203331-01xxx": "",
	} {
		if got := traceID(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// Seen to fail with the first address of X-Forwarded-For taken, which a client may write itself.
func TestClientAddressIsTheLastThatNoTrustedProxySaid(t *testing.T) {
	g := &Gateway{options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"nobody in between", "203.0.113.9:5000", nil, "203.0.113.9"},
		{"a stranger's header is not believed", "203.0.113.9:5000", []string{"1.1.1.1"}, "203.0.113.9"},
		{"a trusted proxy's is", "10.0.0.1:5000", []string{"203.0.113.9"}, "203.0.113.9"},
		{"what the client wrote in front is not", "10.0.0.1:5000", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		{"through two proxies", "10.0.0.1:5000", []string{"1.1.1.1", "203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"only proxies", "10.0.0.1:5000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"no address", "10.0.0.1:5000", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"nothing said", "10.0.0.1:5000", nil, "10.0.0.1"},
		{"a forged line", "10.0.0.1:5000", []string{"203.0.113.9\r\n{}"}, "10.0.0.1"},
		{"IPv6", "[fd00::1]:5000", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5000", []string{"203.0.113.9"}, "203.0.113.9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.forwarded}}
			if got := g.clientAddress(r); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// stuck is a sink whose first write lasts until it is let go.
type stuck struct{ writing, free chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	select {
	case s.writing <- struct{}{}:
	case <-s.free:
	}
	<-s.free
	return len(p), nil
}

// Seen to fail with the begin kept in Unix nanoseconds: set back by an hour, a stuck sink went unnoticed for that hour; set
// forward, one that had just begun to write had calls refused.
func TestAuditNoticesAStuckSinkWhateverTheClock(t *testing.T) {
	for _, set := range []time.Duration{-time.Hour, time.Hour} {
		var at atomic.Pointer[time.Time]
		start := time.Now()
		at.Store(&start)
		s := stuck{make(chan struct{}), make(chan struct{})}
		a := newAudit(AuditOptions{Sink: s, Required: true}, func() time.Time { return *at.Load() })
		a.Write(&Record{})
		<-s.writing
		for _, c := range []struct {
			after time.Duration
			want  bool
		}{{auditStall / 2, false}, {2 * auditStall, true}} {
			now := clocktest.Set(start.Add(c.after), set)
			at.Store(&now)
			if got := a.refuses(); got != c.want {
				t.Errorf("clock set by %v, after %v: refuses %v, want %v", set, c.after, got, c.want)
			}
		}
		close(s.free)
		a.Close()
	}
}
