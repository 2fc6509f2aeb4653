package gateway

import (
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// Record is what the audit log says of one decision. Strings come from clients and are escaped when written.
type Record struct {
	Time      time.Time
	Consumer  string
	KeyID     string
	Service   string
	Version   string
	Tool      []byte
	Method    string
	Allowed   bool
	Reason    string
	Status    int
	Bytes     int64
	Duration  time.Duration
	RequestID []byte // JSON-RPC id as it came
	TraceID   string
	Client    string
	Detail    string // what the client was not told: backend faults with addresses, never credentials
	Arguments []byte // only where boot configuration asks for them
}

// Audit writes one JSON line per record. A sink that fails is counted and never stops a call.
type Audit struct {
	allowed bool // write allowed decisions too
	log     *slog.Logger

	mu     sync.Mutex
	sink   io.Writer
	buf    []byte
	failed atomic.Int64
	lines  atomic.Int64
}

// NewAudit gives an Audit that writes to sink; denials always, allowed decisions if so asked.
func NewAudit(sink io.Writer, allowed bool, log *slog.Logger) *Audit {
	return &Audit{sink: sink, allowed: allowed, log: log}
}

// Failed is how many lines could not be written.
func (a *Audit) Failed() int64 { return a.failed.Load() }

// Lines is how many lines were written.
func (a *Audit) Lines() int64 { return a.lines.Load() }

// wants spares the caller the making of a Record that nobody wants.
func (a *Audit) wants(allowed bool) bool { return a != nil && (a.allowed || !allowed) }

// Write adds a line for r.
func (a *Audit) Write(r *Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buf = append(r.appendJSON(a.buf[:0]), '\n')
	if _, err := a.sink.Write(a.buf); err != nil {
		if a.failed.Add(1) == 1 {
			a.log.Error("audit log cannot be written; calls go on and lost lines are counted in nmp_audit_failed_total", "error", err)
		}
		return
	}
	a.lines.Add(1)
}

func (r *Record) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, '"')
	text := func(name, value string) {
		if value != "" {
			b = append(append(append(b, `,"`...), name...), `":`...)
			b = wire.AppendString(b, value)
		}
	}
	decision := "deny"
	if r.Allowed {
		decision = "allow"
	}
	text("decision", decision)
	text("reason", r.Reason)
	text("consumer", r.Consumer)
	text("key", r.KeyID)
	text("service", r.Service)
	text("version", r.Version)
	text("method", r.Method)
	text("tool", string(r.Tool))
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), r.Bytes, 10)
	b = strconv.AppendInt(append(b, `,"microseconds":`...), r.Duration.Microseconds(), 10)
	if len(r.RequestID) > 0 {
		b = append(append(b, `,"requestId":`...), r.RequestID...)
	}
	text("traceId", r.TraceID)
	text("client", r.Client)
	text("detail", r.Detail)
	if len(r.Arguments) > 0 {
		b = wire.AppendString(append(b, `,"arguments":`...), r.Arguments)
	}
	return append(b, '}')
}
