package app

import (
	"context"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/admin"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/certfile"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/gateway"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

const (
	settleStep = 20 * time.Millisecond
	settleTime = time.Second      // without anything new
	settleMost = 10 * time.Second // in all
	resolveGap = time.Minute
	contactGap = 2 * time.Second
)

// follow begins to watch the source and runs what goes on beside the serving.
func (a *App) follow(ctx context.Context) {
	a.tasks.Go(func() { a.resolveRegularly(ctx) })
	a.tasks.Go(func() { a.noteContact(ctx) })
	for _, files := range a.certificates {
		a.tasks.Go(func() { files.Follow(ctx) })
	}
	if a.kept.borrowed {
		a.tasks.Go(func() { a.takeStore(ctx) })
	}
	synced := make(chan struct{})
	a.tasks.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-synced:
		}
		a.log.Debug("source read", "after", time.Since(a.started).Round(time.Millisecond))
		a.settle(ctx)
		if ctx.Err() == nil {
			a.log.Info("configuration read", "source", a.config.Source, "after", time.Since(a.started).Round(time.Millisecond))
			a.register(ctx)
		}
	})
	if err := a.feeds.follow(a.credentialGroups(), a.catalog.Feed, func() { close(synced) }); err != nil {
		a.failed <- err
	}
}

// settle waits, once the source has been read whole, for what the manifests refer to, and then calls the catalog ready:
// a service whose tools are still on their way must not be refused as if it did not exist. One whose publish was never
// finished holds up nobody for long; documents that may not be read do until they may, so that a new replica which lacks a
// right gets no traffic.
func (a *App) settle(ctx context.Context) {
	began, last, serial := time.Now(), time.Now(), a.catalog.Index().Serial()
	for a.feeds.unread() > 0 || time.Since(last) < settleTime && time.Since(began) < settleMost && !a.catalog.Settled() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(settleStep):
		}
		if now := a.catalog.Index().Serial(); now != serial || a.catalog.Busy() {
			serial, last = now, time.Now()
		}
	}
	a.catalog.Synced()
	if a.kept.open() && ctx.Err() == nil {
		a.kept.store().Sure()
	}
	debug.FreeOSMemory() // reading everything took more than keeping it does
}

func (a *App) resolveRegularly(ctx context.Context) {
	for {
		a.feeds.resolve(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(resolveGap):
		}
	}
}

// noteContact keeps in the store when the source was last heard of, and logs when it goes and comes.
func (a *App) noteContact(ctx context.Context) {
	connected := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(contactGap):
		}
		status := a.feeds.status()
		if a.kept.open() && !status.LastContact.IsZero() {
			a.kept.store().Contact(status.LastContact)
		}
		if status.Connected != connected {
			connected = status.Connected
			if connected {
				a.log.Info("source answers again", "source", a.config.Source)
			} else {
				a.log.Warn("source does not answer: going on with what is known, and trying again", "source", a.config.Source, "problems", status.Problems)
			}
		}
	}
}

// instance is how the proxy shows itself in the naming service.
func (a *App) instance() (nacos.ServiceRef, nacos.Instance) {
	ref := nacos.ServiceRef{Group: a.config.Register.Group, Service: a.config.Register.Service}
	host, port := a.advertised()
	scheme := "http"
	if a.config.TLS.Cert != "" {
		scheme = "https"
	}
	return ref, nacos.Instance{
		Host: host, Port: port, Weight: 1, Healthy: true, Enabled: true,
		Metadata: map[string]string{
			"version": a.version, "replica": a.replica,
			"url": scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)),
		},
	}
}

// advertised is the address of the listener or, where it listens on all, the one that packets to the outside leave by.
func (a *App) advertised() (string, int) {
	tcp := a.listener.Addr().(*net.TCPAddr)
	if !tcp.IP.IsUnspecified() {
		return tcp.IP.String(), tcp.Port
	}
	if len(a.config.Nacos.Addresses) > 0 {
		// UDP: nothing is sent, the kernel only chooses a source address.
		if c, err := net.Dial("udp", a.config.Nacos.Addresses[0]); err == nil {
			defer c.Close()
			return c.LocalAddr().(*net.UDPAddr).IP.String(), tcp.Port
		}
	}
	return "127.0.0.1", tcp.Port
}

func (a *App) register(ctx context.Context) {
	if !a.config.Register.Enabled {
		return
	}
	ref, in := a.instance()
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := a.feeds.main.Register(ctx, ref, in)
		if err == nil {
			a.registered.Store(true)
			a.log.Info("registered in the naming service", "group", ref.Group, "service", ref.Service, "url", in.Metadata["url"])
			return
		}
		a.log.Warn("could not register in the naming service, trying again", "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (a *App) deregister(ctx context.Context) {
	if !a.registered.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	ref, in := a.instance()
	if err := a.feeds.main.Deregister(ctx, ref, in); err != nil {
		a.log.Warn("could not deregister from the naming service", "error", err)
	}
}

func (a *App) adminHandler() http.Handler {
	places := gateway.Places{Hosts: a.config.Admin.AllowedHosts}
	return admin.Handler(admin.Options{
		Foreign: places.Foreign, Pprof: a.config.Admin.Pprof,
		Token: a.config.Admin.Token, Ready: a.Ready, Status: a.Status, Access: a.accessTable,
		Metrics: promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{}),
	})
}

// Status is what GET /status answers.
func (a *App) Status() admin.Status {
	source := a.feeds.status()
	s := admin.Status{
		Version: a.version, Ready: a.Ready(), Pending: a.catalog.Pending(),
		Source:    admin.Source{Kind: a.config.Source, Connected: source.Connected, Server: source.Server, Problems: source.Problems},
		Documents: a.catalog.DocumentStatuses(), Services: a.catalog.ServiceStatuses(), Consumers: a.catalog.ConsumerStatuses(time.Now()),
		Memory: a.memory.State(), Connections: a.clientConnections(),
		Replica: admin.Replica{ID: a.replica, Started: a.started.UTC(), Listen: a.Addr().String()},
	}
	s.Rejected = catalog.CountRejected(s.Documents)
	s.Alerts = a.catalog.Alerts(s.Documents)
	if since, stale := a.staleSince(); stale {
		since = since.UTC()
		s.Source.Stale, s.Source.StaleSince = true, &since
	}
	if last := a.lastChange.Load(); last > 0 {
		t := time.Unix(0, last).UTC()
		s.Source.LastChange = &t
	}
	if proof := source.PushProof; !proof.IsZero() {
		age, at := time.Since(proof).Seconds(), proof.UTC()
		s.Source.PushProof, s.Source.PushAge = &at, &age
	}
	if a.kept.open() {
		s.Store = a.kept.store().Status()
	}
	for _, state := range a.certificateStates() {
		s.Certificates = append(s.Certificates, state)
		if state.Problem != "" {
			s.Alerts = append(s.Alerts, "certificates of "+state.Use+" cannot be taken anew, those of before stay in force: "+state.Problem)
		}
		if left, ok := state.Expires(time.Now()); ok && left < certificateAlert {
			s.Alerts = append(s.Alerts, "the certificate of "+state.Use+" ends "+state.NotAfter.Format(time.RFC3339))
		}
	}
	return s
}

// certificateStates returns how the files stand that the boot configuration names.
func (a *App) certificateStates() []certfile.State {
	var all []certfile.State
	for _, files := range a.certificates {
		all = append(all, files.State())
	}
	if c, ok := a.feeds.main.(interface{ Certificates() (certfile.State, bool) }); ok { // the other client has the same
		if state, named := c.Certificates(); named {
			all = append(all, state)
		}
	}
	return all
}

// certificateAlert is how long before its end /status calls a certificate to mind.
const certificateAlert = 3 * 24 * time.Hour

func (a *App) accessTable(service string) (any, bool) {
	return a.catalog.Explain(service, time.Now())
}
