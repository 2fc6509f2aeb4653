package gateway

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/jsontext"
)

// Record is what the audit log says of one decision. Strings come from clients: they are escaped, so that none begins a line of
// its own or hides or turns around what a person or a terminal is shown, cut to a length, and what looks like a key of ours, in
// whatever encoding, is left out of them.
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

// Lengths in bytes to which the parts of a line that clients choose are cut.
const (
	maxAuditText      = 256
	maxAuditDetail    = 2 << 10
	maxAuditArguments = 64 << 10
)

// printable makes a client's text fit for a line. It is cut first, so that looking for keys takes bounded time; of a key that is
// cut in two, what is left is found.
func printable(s string, limit int) string {
	if len(s) <= limit {
		return withoutKeys(s)
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return withoutKeys(s[:limit]) + "…"
}

// appendJSON adds the line's object, with its fields always in the same order.
func (r *Record) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, '"')
	text := func(name, value string, limit int) {
		if value != "" {
			b = append(append(append(b, `,"`...), name...), `":`...)
			from := len(b)
			b = visible(jsontext.AppendString(b, printable(value, limit)), from)
		}
	}
	decision := "deny"
	if r.Allowed {
		decision = "allow"
	}
	text("decision", decision, maxAuditText)
	text("reason", r.Reason, maxAuditText)
	text("consumer", r.Consumer, maxAuditText)
	text("key", r.KeyID, maxAuditText)
	text("service", r.Service, maxAuditText)
	text("version", r.Version, maxAuditText)
	text("method", r.Method, maxAuditText)
	text("tool", string(r.Tool), maxAuditText)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), r.Bytes, 10)
	b = strconv.AppendFloat(append(b, `,"durationMs":`...), float64(r.Duration.Microseconds())/1000, 'f', -1, 64)
	b = r.appendRequestID(b)
	text("traceId", r.TraceID, maxAuditText)
	text("client", r.Client, maxAuditText)
	text("detail", r.Detail, maxAuditDetail)
	text("arguments", string(r.Arguments), maxAuditArguments)
	return append(b, '}')
}

// appendRequestID adds the id as it came, a number or a string that the scanner has read, but for what would be invisible in it;
// as text where it is too long or holds a key.
func (r *Record) appendRequestID(b []byte) []byte {
	if len(r.RequestID) == 0 {
		return b
	}
	b = append(b, `,"requestId":`...)
	if id := string(r.RequestID); printable(id, maxAuditText) != id {
		from := len(b)
		return visible(jsontext.AppendString(b, printable(id, maxAuditText)), from)
	}
	return visible(append(b, r.RequestID...), len(b))
}

// traceID is the second field of a traceparent (W3C Trace Context, section 3.2.2.3), empty where it is none.
func traceID(traceparent string) string {
	if len(traceparent) < 55 || traceparent[2] != '-' || traceparent[35] != '-' {
		return ""
	}
	id := traceparent[3:35]
	if strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}
