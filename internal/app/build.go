package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/admin"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/budget"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/gateway"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/relay"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/session"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/store"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// keepAlive is how often a silent stream gets a comment: under the minute after which many proxies cut it.
const keepAlive = 15 * time.Second

// build makes all parts; nothing is served or followed yet.
func (a *App) build(ctx context.Context) error {
	var err error
	if a.feeds, err = openFeeds(ctx, a.config, a.host.Nacos, a.log); err != nil {
		return err
	}
	a.openStore()
	kept := a.kept.load()
	a.feeds.known = kept.known
	limits := a.config.Limits
	if limits.Memory == 0 {
		limits.Memory = budget.DefaultMemory()
	}
	a.memory, a.descriptors = budget.NewMemory(limits.Memory), budget.NewDescriptors(budget.OpenFiles())
	tlsFiles := upstream.TLSFiles{Dir: a.config.Upstream.TLSDir}
	if dir := tlsFiles.Dir; dir != "" && upstream.TLSFilesFor(dir).Elsewhere {
		a.log.Error("upstream.tlsDir cannot be opened as a directory: services that name files in it are rejected", "dir", dir)
	}
	a.upstreams = upstream.New(upstream.Options{
		Subscribe: a.subscribe, Namespace: a.namespace(), Allow: a.config.Upstream.Allow, Deny: a.config.Upstream.Deny, Never: a.never,
		TLSFiles: tlsFiles,
		CallTime: limits.CallTime, StreamIdle: limits.StreamIdle, ResponseBody: limits.ResponseBody, Log: a.log,
		Dial:        a.host.Backend,
		Descriptors: a.descriptors,
	})
	a.catalog, err = catalog.New(catalog.Options{
		Services: a.config.Cache.Services, DefaultOpen: a.config.Access.Default == registry.AuthDisabled, Backends: a.upstreams,
		Convert: func(s convert.Secrets) convert.Options {
			return convert.Options{Secrets: s, ForwardHeaders: a.config.Upstream.ForwardHeaders}
		},
		ForwardHeaders:   a.config.Upstream.ForwardHeaders,
		KeySources:       a.config.Access.Sources,
		TLSFiles:         tlsFiles,
		CredentialGroups: a.credentialGroups(), Env: a.config.Credentials.Env, Files: a.config.Credentials.Files,
		Retired: kept.retired, Holders: kept.holders, Past: a.feeds.past(), Unsure: a.kept.open() && a.kept.store().Unsure(),
		OnKeep: a.keep, OnWants: a.feeds.want, OnSwap: a.swapped, Log: a.log,
	}, kept.documents)
	if err != nil {
		return err
	}
	return a.buildGateway()
}

func (a *App) buildGateway() error {
	var secrets [][]byte
	for _, s := range a.config.Session.Secrets {
		secrets = append(secrets, []byte(s.Reveal()))
	}
	sealer, err := session.NewSealer(secrets)
	if err != nil {
		return fmt.Errorf("read session.secrets: %w", err)
	}
	limits := a.config.Limits
	a.relay = relay.New(relay.Options{
		Sealer: sealer, KeepAlive: keepAlive, StreamIdle: limits.StreamIdle, MaxMessage: int(limits.ResponseBody),
		Memory: a.memory, Sessions: limits.Sessions, SessionIdle: limits.SessionIdle,
	})
	if a.audit, err = openAudit(a.config.Log.Audit); err != nil {
		return err
	}
	if a.audit != nil {
		a.auditLog = gateway.NewAudit(gateway.AuditOptions{
			Sink: a.audit, Allowed: a.config.Log.AuditAllowed, Required: a.config.Log.AuditRequired, Log: a.log,
		})
	}
	a.gateway = gateway.New(gateway.Options{
		Catalog: a.catalog, Relay: a.relay, Sealer: sealer, Limiter: access.NewLimiter(access.DefaultBuckets), Audit: a.auditLog,
		Metrics: gateway.NewMetrics(a.metrics), Log: a.log, Version: a.version, Sources: a.config.Access.Sources,
		Memory: a.memory, RequestBody: limits.RequestBody, BodyTime: limits.BodyTime, KeepAlive: keepAlive,
		Places: gateway.Places{Hosts: a.config.HTTP.AllowedHosts, Origins: a.config.HTTP.AllowedOrigins}, TrustedProxies: a.config.HTTP.TrustedProxies,
		Stale: a.tooStale(), RevealDenied: a.config.Access.RevealDenied, AuditArguments: a.config.Log.AuditArguments,
	})
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.gauges()
	a.metrics.MustRegister(certificateMetrics{a})
	return nil
}

// gauges are the metrics that are read off the parts when somebody asks.
func (a *App) gauges() {
	gauge := func(name, help string, value func() float64) {
		a.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("nmp_requests_active", "Requests being served, streams included.", func() float64 { return float64(a.gateway.Active()) })
	gauge("nmp_memory_limit_bytes", "The most that messages above 64 KiB may hold at once (limits.memory).", func() float64 { return float64(a.memory.State().Limit) })
	gauge("nmp_memory_held_bytes", "What they hold now.", func() float64 { return float64(a.memory.State().Held) })
	gauge("nmp_connections_limit", "The most connections of clients.", func() float64 { return float64(a.connections.Load()) })
	gauge("nmp_connections", "Connections of clients.", func() float64 { return float64(a.clientConnections().Open) })
	gauge("nmp_backend_connections", "Connections to backends, idle ones included.", func() float64 {
		open, _ := a.descriptors.Open(budget.Backends)
		return float64(open)
	})
	counted := func(name, help string, value func() float64) {
		a.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
	}
	counted("nmp_memory_refused_total", "Messages that did not fit into limits.memory.", func() float64 { return float64(a.memory.State().Refused) })
	counted("nmp_connections_refused_total", "Connections of clients that were closed because there were too many, in all or from one address.", func() float64 {
		s := a.clientConnections()
		return float64(s.Refused + s.RefusedPerAddress)
	})
	counted("nmp_backend_connections_refused_total", "Connections to backends that were not made because there were too many.", func() float64 {
		_, refused := a.descriptors.Open(budget.Backends)
		return float64(refused)
	})
	gauge("nmp_services_compiled", "Services compiled now.", func() float64 { return float64(a.catalog.CompiledCount()) })
	gauge("nmp_validations_pending", "Definitions that wait for their validation.", func() float64 { return float64(a.catalog.Pending()) })
	gauge("nmp_source_connected", "1 while the source answers.", func() float64 { return asFloat(a.feeds.status().Connected) })
	gauge("nmp_source_push_age_seconds", "Time since something that the source pushed last arrived; NaN where it cannot be asked for a proof.", func() float64 {
		proof := a.feeds.status().PushProof
		if proof.IsZero() {
			return math.NaN()
		}
		return time.Since(proof).Seconds()
	})
	gauge("nmp_index_serial", "Number of the configuration in force; grows with each change.", func() float64 { return float64(a.catalog.Index().Serial()) })
	gauge("nmp_grants_rejected", "Grants documents whose newest version is rejected: their switch counts as on, and what they were to revoke is not.", func() float64 {
		return float64(a.catalog.Index().RejectedGrants())
	})
	gauge("nmp_names_undecided", "Names that several entries of the registry carry, of which nobody knows which had it first.", func() float64 {
		return float64(len(a.catalog.Index().Guessed()))
	})
	gauge("nmp_store_failing", "1 while the last-known-good store cannot be written.", func() float64 {
		return asFloat(a.kept.open() && a.kept.store().Status().Failing != "")
	})
	if audit := a.auditLog; audit != nil {
		counter := func(name, help string, value func() int64) {
			a.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
		}
		counter("nmp_audit_lines_total", "Audit lines that were written.", audit.Lines)
		counter("nmp_audit_failed_total", "Audit lines that could not be written.", audit.Failed)
	}
}

// Of certificates there are as many series as the boot configuration names.
var (
	daysLeft = prometheus.NewDesc("nmp_certificate_days_left", "Days until the certificate in force ends; negative: since it has.", []string{"use"}, nil)
	notTaken = prometheus.NewDesc("nmp_certificate_failing", "1 while newer certificate files cannot be taken.", []string{"use"}, nil)
)

// certificateMetrics collects how the certificates stand.
type certificateMetrics struct{ app *App }

// Describe sends all that Collect may.
func (c certificateMetrics) Describe(out chan<- *prometheus.Desc) { out <- daysLeft; out <- notTaken }

// Collect reads from memory.
func (c certificateMetrics) Collect(out chan<- prometheus.Metric) {
	for _, state := range c.app.certificateStates() {
		if left, ok := state.Expires(time.Now()); ok {
			out <- prometheus.MustNewConstMetric(daysLeft, prometheus.GaugeValue, left.Hours()/24, state.Use)
		}
		out <- prometheus.MustNewConstMetric(notTaken, prometheus.GaugeValue, asFloat(state.Problem != ""), state.Use)
	}
}

func (a *App) clientConnections() admin.Connections {
	s := admin.Connections{Limit: a.connections.Load(), Refused: a.refusedConnections.Load()}
	if a.openConnections != nil {
		s.Open, s.RefusedPerAddress = a.openConnections(), a.refusedPerAddress()
	}
	return s
}

func asFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (a *App) credentialGroups() []string {
	groups := slices.Clone(a.config.Credentials.Groups)
	if !slices.Contains(groups, registry.GroupCredentials) {
		groups = append(groups, registry.GroupCredentials)
	}
	return groups
}

func (a *App) identity() store.Identity {
	if a.config.Source == config.SourceDir {
		path, err := filepath.Abs(a.config.Dir.Path)
		if err != nil {
			path = a.config.Dir.Path
		}
		return store.Identity{Kind: "dir", Addresses: []string{path}}
	}
	return store.Identity{
		Kind: "nacos", Addresses: a.config.Nacos.Addresses, Namespace: a.config.Nacos.Namespace,
		AccessNamespace: a.config.Nacos.AccessNamespace,
	}
}

func (a *App) swapped(d catalog.Delta) {
	if a.gateway != nil {
		a.gateway.Swapped(d)
	}
}

// subscribe follows a naming service for a backend. While the source does not answer, what the store kept stands in.
func (a *App) subscribe(ref registry.BackendRef, onChange func([]upstream.Instance)) (func(), error) {
	namespace := ref.Namespace
	if namespace == a.namespace() {
		namespace = ""
	}
	if namespace != "" && !slices.Contains(a.config.Nacos.BackendNamespaces, namespace) {
		return nil, fmt.Errorf("subscribe to %s/%s: namespace %q is not in nacos.backendNamespaces", ref.Group, ref.Service, namespace)
	}
	of := store.Service{Namespace: namespace, Group: ref.Group, Service: ref.Service}
	if a.kept.open() && !a.feeds.status().Connected {
		if kept, err := a.kept.store().Instances(of); err == nil {
			onChange(asInstances(kept))
		}
	}
	return a.feeds.main.Subscribe(nacos.ServiceRef{Namespace: namespace, Group: ref.Group, Service: ref.Service}, func(all []nacos.Instance) {
		if a.kept.open() {
			a.kept.store().PutInstances(of, asKept(all))
		}
		onChange(all)
	})
}

func asInstances(kept []store.Instance) []nacos.Instance {
	all := make([]nacos.Instance, len(kept))
	for i, in := range kept {
		all[i] = nacos.Instance(in)
	}
	return all
}

func asKept(all []nacos.Instance) []store.Instance {
	kept := make([]store.Instance, len(all))
	for i, in := range all {
		kept[i] = store.Instance(in)
	}
	return kept
}

func (a *App) namespace() string {
	if a.config.Source == config.SourceDir {
		return nacos.PublicNamespace // a directory is one namespace, and registry documents name it
	}
	if a.config.Nacos.Namespace == "" {
		return nacos.PublicNamespace
	}
	return a.config.Nacos.Namespace
}

// never lists what no backend may be: Nacos and our own listeners.
func (a *App) never() []netip.AddrPort {
	var all []netip.AddrPort
	for _, l := range []net.Listener{a.listener, a.adminListener} {
		if l != nil {
			if ap, err := netip.ParseAddrPort(l.Addr().String()); err == nil {
				all = append(all, ap)
			}
		}
	}
	return append(all, a.feeds.addresses()...)
}

// tooStale gives the check of access.maxStale, nil where there is none.
func (a *App) tooStale() func() (string, bool) {
	limit := a.config.Access.MaxStale
	if limit <= 0 {
		return nil
	}
	return func() (string, bool) {
		since, stale := a.staleSince()
		if !stale || time.Since(since) < limit {
			return "", false
		}
		return "Not ready: the configuration is older than access.maxStale allows, because its source does not answer", true
	}
}

// staleSince tells since when the source has not been heard of.
func (a *App) staleSince() (time.Time, bool) {
	status := a.feeds.status()
	if status.Connected {
		return time.Time{}, false
	}
	if !status.LastContact.IsZero() {
		return status.LastContact, true
	}
	var stored time.Time
	if a.kept.open() {
		stored = a.kept.store().LastContact()
	}
	return silentSince(a.started, stored), true
}

// silentSince returns since when a source that has not answered since the start has been silent, given when an earlier
// process last heard of it: zero if none did. Its wall clock is that time, never later than the start, and its monotonic
// reading goes with it, so that how long that lasts does not depend on a clock that is set later.
func silentSince(started, stored time.Time) time.Time {
	if stored.IsZero() || stored.After(started) {
		return started
	}
	return started.Add(-started.Sub(stored))
}

func replicaID() string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "-" + hex.EncodeToString(b[:])
}

var errNoSource = errors.New("source must be dir or nacos")
