// Package session seals what the proxy must remember of an MCP session into the session id itself, so that replicas share
// nothing but secrets. It must never do I/O, read a clock, or tell a stranger more than that an id is unknown.
package session

import (
	"encoding/binary"
	"errors"
	"time"
)

// Session is what a session id of ours stands for.
type Session struct {
	Backend  string    // the backend's own session id; empty where the proxy answers itself or the backend has no sessions
	Instance string    // the backend instance the session lives on, as upstream names it
	Service  string    // where the id may be used
	Version  string    // of the service; empty for the one without versions
	Consumer string    // who may use it; empty for anybody, on a service whose switch is off
	Protocol string    // the MCP revision that initialize settled on
	Issued   time.Time // to the second
}

// For tells whether the session was opened by this consumer on this service and version. A session for which it is false
// must be treated as an unknown one.
func (s Session) For(service, version, consumer string) bool {
	return s.Service == service && s.Version == version && s.Consumer == consumer
}

// layout is the first byte of the sealed text; another layout gets another number.
const layout = 1

var errLayout = errors.New("read session: unknown layout")

// append writes the session as bytes to be sealed.
func (s Session) append(dst []byte) []byte {
	dst = append(dst, layout)
	dst = binary.AppendVarint(dst, s.Issued.Unix())
	for _, f := range []string{s.Service, s.Version, s.Consumer, s.Protocol, s.Instance, s.Backend} {
		dst = binary.AppendUvarint(dst, uint64(len(f)))
		dst = append(dst, f...)
	}
	return dst
}

// parse reads what append wrote. It is only given authentic bytes, but does not rely on it.
func parse(b []byte) (Session, error) {
	if len(b) == 0 || b[0] != layout {
		return Session{}, errLayout
	}
	b = b[1:]
	issued, n := binary.Varint(b)
	if n <= 0 {
		return Session{}, errLayout
	}
	b = b[n:]
	s := Session{Issued: time.Unix(issued, 0).UTC()}
	text := string(b) // of which all are parts
	for _, f := range []*string{&s.Service, &s.Version, &s.Consumer, &s.Protocol, &s.Instance, &s.Backend} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return Session{}, errLayout
		}
		*f, text = text[n:n+int(size)], text[n+int(size):]
		b = b[n+int(size):]
	}
	if len(b) != 0 {
		return Session{}, errLayout
	}
	return s, nil
}
