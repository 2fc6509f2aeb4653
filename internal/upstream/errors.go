package upstream

import (
	"errors"
	"fmt"
)

// Kind says what went wrong, as far as a caller may care.
type Kind uint8

// Kinds of errors. The comments say what a caller can do.
const (
	NoInstance   Kind = iota + 1 // the naming service has no healthy instance, or is not known yet
	InstanceGone                 // the pinned instance is no longer there: its sessions are lost
	Refused                      // no connection could be made; nothing was sent
	Timeout                      // the first byte, or the next one of a stream, did not come in time
	TooLarge                     // the answer is over the limit
	Blocked                      // the target may not be dialled, or may not be sent this credential; nothing was sent
	Canceled                     // the caller went away
	Protocol                     // the request or the answer is not what HTTP allows
	Redirect                     // the backend sends the call elsewhere, where it may not go
	Encoded                      // the answer is in a Content-Encoding that was not asked for
	Busy                         // a bound of the whole process is reached: descriptors or memory; later it may go
)

// texts are what callers of the proxy get to read: no addresses, no names of hosts, no credentials.
var texts = map[Kind]string{
	NoInstance:   "no healthy instance of the backend",
	InstanceGone: "the backend instance of this session is gone",
	Refused:      "backend unreachable",
	Timeout:      "backend did not answer in time",
	TooLarge:     "backend answer is over the size limit",
	Blocked:      "backend address is not allowed",
	Canceled:     "call was canceled",
	Protocol:     "backend connection failed",
	Redirect:     "backend redirects elsewhere",
	Encoded:      "backend answered with a Content-Encoding that was not asked for: it can be gzip or deflate",
	Busy:         "the proxy is at its limits, try again later",
}

// String is the short text of the kind, fit for clients.
func (k Kind) String() string { return texts[k] }

// Error is what Do and the reading of a body fail with.
type Error struct {
	Kind   Kind
	Sent   bool   // part of the request may have reached the backend
	detail string // for the log: may name addresses, never credentials
	err    error
}

// Error is fit for clients: it names neither addresses nor credentials.
func (e *Error) Error() string { return e.Kind.String() }

// Detail is for logs: it may name hosts and addresses, never credentials.
func (e *Error) Detail() string {
	switch {
	case e.err != nil && e.detail != "":
		return fmt.Sprintf("%s: %s: %v", e.Kind, e.detail, e.err)
	case e.err != nil:
		return fmt.Sprintf("%s: %v", e.Kind, e.err)
	case e.detail != "":
		return fmt.Sprintf("%s: %s", e.Kind, e.detail)
	}
	return e.Kind.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.err }

// KindOf is the Kind of an error of this package, 0 for any other.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return 0
}
