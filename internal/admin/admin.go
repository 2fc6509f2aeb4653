// Package admin answers operators: health, metrics and what the proxy knows and rejects.
// It must never show a key, a digest or a credential, and never be reachable from elsewhere than loopback without a token, nor
// by a web page through the browser of somebody who can reach it.
package admin

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/certfile"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
)

// Source is how the proxy stands with where its configuration comes from.
type Source struct {
	Kind       string     `json:"kind"`
	Connected  bool       `json:"connected"`
	Stale      bool       `json:"stale"`
	StaleSince *time.Time `json:"staleSince,omitempty"`
	LastChange *time.Time `json:"lastChange,omitempty"`
	// PushProof is when something that the source pushed last arrived, PushAge how many seconds ago. They are missing where
	// the source cannot be asked for a proof.
	PushProof *time.Time `json:"pushProof,omitempty"`
	PushAge   *float64   `json:"pushAgeSeconds,omitempty"`
	Server    string     `json:"server,omitempty"`
	Problems  []string   `json:"problems,omitempty"`
}

// Replica tells replicas apart.
type Replica struct {
	ID      string    `json:"id"`
	Started time.Time `json:"started"`
	Listen  string    `json:"listen"`
}

// Connections are those of clients.
type Connections struct {
	Limit             int64 `json:"limit"` // 0: none is known
	Open              int64 `json:"open"`
	Refused           int64 `json:"refused"` // since the start, as there were too many
	RefusedPerAddress int64 `json:"refusedPerAddress"`
}

// Status is the answer of GET /status.
type Status struct {
	Version   string                   `json:"version"`
	Ready     bool                     `json:"ready"`
	Alerts    []string                 `json:"alerts"` // what a person should mend at once, as callers are denied or allowed for it
	Source    Source                   `json:"source"`
	Pending   int                      `json:"pendingValidations"`
	Rejected  catalog.RejectedCount    `json:"rejected"`
	Documents []catalog.DocumentStatus `json:"documents"`
	Services  []catalog.ServiceStatus  `json:"services"`
	Consumers []catalog.ConsumerStatus `json:"consumers"`
	Store     any                      `json:"store,omitempty"`
	Replica   Replica                  `json:"replica"`
	// Memory is what messages above 64 KiB hold of limits.memory.
	Memory      budget.State `json:"memory"`
	Connections Connections  `json:"connections"`
	// Certificates are those of files that the boot configuration names.
	Certificates []certfile.State `json:"certificates,omitempty"`
}

// Options of the admin handler.
type Options struct {
	Token   secret.Text // empty: none is needed
	Ready   func() bool
	Status  func() Status
	Access  func(service string) (any, bool) // who may call what; false if there is no such service
	Metrics http.Handler
	Foreign func(*http.Request) string // what of a request, Host or Origin, is not allowed; "" if nothing
	Pprof   bool                       // serve profiles of the process
}

// Handler returns what serves /livez, /readyz, /metrics, /status and, if asked for, /debug/pprof/.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !o.Ready() {
			text(w, http.StatusServiceUnavailable, "not ready: the configuration has not arrived yet, see /status")
			return
		}
		text(w, http.StatusOK, "ok")
	})
	guarded := http.NewServeMux()
	guarded.Handle("GET /metrics", o.Metrics)
	guarded.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, o.Status()) })
	guarded.HandleFunc("GET /status/access", func(w http.ResponseWriter, r *http.Request) {
		table, ok := o.Access(r.URL.Query().Get("service"))
		if !ok {
			answer(w, http.StatusNotFound, map[string]string{"error": "no such service; GET /status lists them"})
			return
		}
		answer(w, http.StatusOK, table)
	})
	if o.Pprof {
		guarded.HandleFunc("GET /debug/pprof/", pprof.Index)
		guarded.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		guarded.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.Handle("/", local(o.Foreign, authorized(o.Token, guarded)))
	return mux
}

// local refuses what a web page has a browser ask: under a name of the page's own that resolves to this address, or from another
// origin. Health is not guarded: probes ask by whatever address they know, and it tells nothing.
func local(foreign func(*http.Request) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch foreign(r) {
		case "Host":
			answer(w, http.StatusForbidden, map[string]string{"error": "this Host is not allowed; whoever runs the proxy can add it to admin.allowedHosts"})
		case "Origin":
			answer(w, http.StatusForbidden, map[string]string{"error": "web pages of other origins are not answered"})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// authorized asks for the token where there is one. Health needs none: probes rarely can send it.
func authorized(token secret.Text, next http.Handler) http.Handler {
	if token.Empty() {
		return next
	}
	want := []byte("Bearer " + token.Reveal())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, map[string]string{"error": "send admin.token as Authorization: Bearer"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(line + "\n"))
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
}
