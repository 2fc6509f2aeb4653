// Package nacos speaks to Nacos: it reads, writes and follows configuration documents and the instances
// of naming services, and it holds the directory source that stands in for a Nacos where there is none.
// It must never know what a document means, and neither source ever stands in silently for the other.
package nacos

import (
	"context"
	"errors"
	"time"
)

// Key names a document within the namespace of its source.
type Key struct {
	Group  string
	DataID string
}

// String gives "group/dataId", the form used in logs, messages and commands.
func (k Key) String() string { return k.Group + "/" + k.DataID }

// Document is what a source holds under a Key. Content is never changed after it was handed out.
type Document struct {
	Key     Key
	Content []byte
	MD5     string // lower-case hex of Content
	Type    string // Nacos's content type: yaml, json, text, …
}

// Entry is a row of a listing: a document without its content.
type Entry struct {
	Key Key
	MD5 string
}

// Change is one step in a document's life as a Watch delivers it.
type Change struct {
	Key     Key
	Content []byte // nil when Deleted
	MD5     string // of Content; empty when Deleted
	Deleted bool
}

// Expectations on what Publish finds, besides the MD5 of a known version.
const (
	// AnyMD5 overwrites whatever is there.
	AnyMD5 = ""
	// AbsentMD5 creates the document only if there is none (a compare-and-set that no content can match).
	AbsentMD5 = "00000000000000000000000000000000"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotFound    = errors.New("document not found")
	ErrConflict    = errors.New("document was changed by somebody else")
	ErrForbidden   = errors.New("not permitted")
	ErrUnavailable = errors.New("source unavailable")
	ErrInvalid     = errors.New("invalid name or content")
)

// ErrFailed is ErrUnavailable for everything, as the same may work a moment later: Nacos answered, but with a failure of
// its own (of its database, say). A write that it ends may have been carried out.
var ErrFailed error = failed{}

type failed struct{}

func (failed) Error() string        { return "Nacos answered, but failed" }
func (failed) Is(target error) bool { return target == ErrUnavailable }

// WatchConfig says what a Watch follows and whom it tells.
type WatchConfig struct {
	// Groups are followed whole: their documents are discovered by listing.
	Groups []string
	// Known holds the MD5 of what the caller already has (from its store). Unchanged documents are not
	// delivered again; those that are gone are delivered as Deleted.
	Known map[Key]string
	// OnChange receives changes, in order per document, newest wins; calls are serialised and must not block
	// for long. The first delivery of a document that exists is a Change like any other.
	OnChange func([]Change)
	// OnSynced is called once, after every group has been listed and every document in them and every wanted
	// document has been delivered or found absent.
	OnSynced func()
	// OnProgress, if not nil, is told how far what was delivered is from what there is. What is delivered while it is not
	// Current belongs together: each change by itself would make a mix of moments. Calls are serialised with OnChange, and
	// come before what they are about. The same may be told more than once.
	OnProgress func(Progress)
}

// Progress is how far a Watch is from what its source holds.
type Progress int

// Progresses of a Watch, which begins Away.
const (
	// Away: the source does not answer, and what happens in it is missed.
	Away Progress = iota
	// CatchingUp: the source answers, or answers slowly, and what was missed is being read. What may not be read holds
	// nothing up.
	CatchingUp
	// Current: all that was missed has been delivered.
	Current
)

// Watch follows documents until it is closed. Both sources return one.
type Watch interface {
	// Want adds to the documents that are followed besides the groups, and then takes some of them out. They need not
	// exist: creating one is delivered like an edit. Those taken out are followed no more and not reported deleted.
	Want(more, less []Key)
	// Unread gives how many followed documents the source has not told of yet, be it that they are there or that they
	// are not: on the first read, and after Want; for as long as it does not answer, or the right to read them is missing.
	Unread() int
	// Close stops following. No callback runs after it returns.
	Close()
}

// ServiceRef names a service of the naming side. An empty Namespace means the source's own.
type ServiceRef struct {
	Namespace string
	Group     string
	Service   string
}

// Instance is one address of a naming service.
type Instance struct {
	Host     string // IP address or host name
	Port     int
	Weight   float64 // 0 gets no traffic
	Healthy  bool
	Enabled  bool
	Metadata map[string]string
	// Persistent: it stays until somebody removes it, where others go with the connection that registered them.
	Persistent bool
}

// Status is how a source stands with its server.
type Status struct {
	Kind        string    // "nacos" or "dir"
	Connected   bool      // requests are being answered
	Since       time.Time // since when Connected is what it is
	LastContact time.Time // last answered request; with a monotonic reading
	PushProof   time.Time // when something that the server pushed last arrived; zero: it takes no probes of that
	Server      string    // version of the server, where it says
	Problems    []string  // what a person should mend, e.g. a missing permission and how to grant it
}

// Source is the whole of what both sources can do; consumers declare the part they use.
type Source interface {
	// Get reads a document; ErrNotFound if there is none.
	Get(ctx context.Context, key Key) (Document, error)
	// List gives every document of a group, in no order.
	List(ctx context.Context, group string) ([]Entry, error)
	// Publish writes doc if the source's version has the MD5 expect (AnyMD5, AbsentMD5 or a known one), else
	// ErrConflict. doc.MD5 is ignored; an empty doc.Type is told from the data id's extension.
	Publish(ctx context.Context, doc Document, expect string) error
	// Remove deletes a document; ErrNotFound if there was none.
	Remove(ctx context.Context, key Key) error
	// Watch begins to follow documents. It returns at once; an unreachable server is retried for ever.
	Watch(cfg WatchConfig) (Watch, error)
	// Subscribe calls onChange with all instances of a service (including unhealthy and disabled ones where the
	// source delivers them), now and after every change; an empty slice means there are none. stop ends it.
	Subscribe(ref ServiceRef, onChange func([]Instance)) (stop func(), err error)
	// Register makes an instance known under ref, until Deregister or, for Nacos, the end of the connection.
	Register(ctx context.Context, ref ServiceRef, in Instance) error
	Deregister(ctx context.Context, ref ServiceRef, in Instance) error
	// Status never blocks.
	Status() Status
	// Close ends every Watch and subscription and frees the connection.
	Close() error
}
