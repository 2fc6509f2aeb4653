package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// feeds are the sources of documents: one namespace for services, and the same or another one for access.
type feeds struct {
	main, access nacos.Source // the same where there is only one namespace
	known        map[nacos.Key]string
	nacos        []string                // addresses that backends may not have
	console      int                     // a port of the same hosts that they may not have either; 0: none
	hosts        map[string][]netip.Addr // of nacos, by name, as last found; resolve alone uses it

	mu      sync.Mutex
	watches []nacos.Watch // of main and, if it is another one, of access
	wishes  []wish        // of before follow was done, to be repeated to watches that begin after them
	started bool
	last    atomic.Pointer[[]netip.AddrPort]
}

func openFeeds(ctx context.Context, cfg config.Config, dial func(context.Context, string, string) (net.Conn, error), log *slog.Logger) (*feeds, error) {
	switch cfg.Source {
	case config.SourceDir:
		d, err := nacos.OpenDir(cfg.Dir.Path, log)
		if err != nil {
			return nil, err
		}
		return &feeds{main: d, access: d}, nil
	case config.SourceNacos:
		open := func(namespace string) (nacos.Source, error) {
			n := cfg.Nacos
			return nacos.Connect(ctx, nacos.Config{
				Addresses: n.Addresses, Namespace: namespace, Username: n.Username, Password: n.Password,
				AccessKey: n.AccessKey, SecretKey: n.SecretKey, ListInterval: n.ListInterval, Logger: log, Dial: dial,
				TLS: nacos.TLS{Enabled: n.TLS.Enabled, CA: n.TLS.CA, Cert: n.TLS.Cert, Key: n.TLS.Key},
			})
		}
		main, err := open(cfg.Nacos.Namespace)
		if err != nil {
			return nil, err
		}
		f := &feeds{main: main, access: main, nacos: cfg.Nacos.Addresses, console: cfg.Nacos.ConsolePort, hosts: map[string][]netip.Addr{}}
		if other := cfg.Nacos.AccessNamespace; other != "" && other != cfg.Nacos.Namespace {
			if f.access, err = open(other); err != nil {
				_ = main.Close()
				return nil, err
			}
		}
		return f, nil
	}
	return nil, errNoSource
}

func accessGroup(group string) bool {
	return group == registry.GroupConsumers || group == registry.GroupGrants
}

// past is what the sources remember, nil if they are none that do.
func (f *feeds) past() catalog.Past {
	main, ok := f.main.(nacos.Historian)
	access, also := f.access.(nacos.Historian)
	if !ok || !also {
		return nil
	}
	return pasts{main, access}
}

// pasts asks the source that a document is of.
type pasts struct{ main, access nacos.Historian }

func (p pasts) of(key nacos.Key) nacos.Historian {
	if accessGroup(key.Group) {
		return p.access
	}
	return p.main
}

func (p pasts) History(ctx context.Context, key nacos.Key, each func(nacos.Past) bool) (time.Time, error) {
	return p.of(key).History(ctx, key, each)
}

func (p pasts) Created(ctx context.Context, key nacos.Key) (uint64, error) {
	return p.of(key).Created(ctx, key)
}

// unread gives how many documents are to be followed of which nothing is known yet.
func (f *feeds) unread() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.watches {
		n += w.Unread()
	}
	return n
}

// follow begins to watch, each namespace for a feed of its own. onSynced is called once all have been read whole.
func (f *feeds) follow(credentialGroups []string, feed func() *catalog.Feed, onSynced func()) error {
	groups := append([]string{registry.GroupManifests, registry.GroupServices, registry.GroupUpstreams}, credentialGroups...)
	access := []string{registry.GroupConsumers, registry.GroupGrants}
	var waiting atomic.Int32
	synced := func() {
		if waiting.Add(-1) == 0 {
			onSynced()
		}
	}
	split := f.main != f.access
	waiting.Store(1)
	if split {
		waiting.Store(2)
	} else {
		groups = append(groups, access...)
	}
	start := func(source nacos.Source, groups []string, mine func(group string) bool) error {
		known := map[nacos.Key]string{}
		for key, md5 := range f.known {
			if mine(key.Group) {
				known[key] = md5
			}
		}
		to := feed()
		w, err := source.Watch(nacos.WatchConfig{Groups: groups, Known: known, OnChange: to.Apply, OnSynced: synced, OnProgress: to.Progress})
		if err != nil {
			return fmt.Errorf("watch documents: %w", err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.watches = append(f.watches, w)
		for _, wish := range f.wishes {
			f.tell(len(f.watches)-1, wish)
		}
		return nil
	}
	defer f.begun()
	if !split {
		return start(f.main, groups, func(string) bool { return true })
	}
	if err := start(f.main, groups, func(group string) bool { return !accessGroup(group) }); err != nil {
		return err
	}
	return start(f.access, access, accessGroup)
}

func (f *feeds) begun() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started, f.wishes = true, nil
}

// wish is what is to be watched besides the groups from now on, and what no more.
type wish struct{ more, less []nacos.Key }

// want passes on which documents are to be watched besides the groups from now on, and which no more.
func (f *feeds) want(more, less []nacos.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started {
		f.wishes = append(f.wishes, wish{more, less})
	}
	for i := range f.watches {
		f.tell(i, wish{more, less})
	}
}

// tell gives watch i what lies in its namespace. The lock is held.
func (f *feeds) tell(i int, w wish) {
	if f.main != f.access {
		w = wish{f.within(i, w.more), f.within(i, w.less)}
	}
	if len(w.more)+len(w.less) > 0 {
		f.watches[i].Want(w.more, w.less)
	}
}

func (f *feeds) within(i int, keys []nacos.Key) []nacos.Key {
	var mine []nacos.Key
	for _, key := range keys {
		if accessGroup(key.Group) == (i == 1) {
			mine = append(mine, key)
		}
	}
	return mine
}

// status is that of the main source; with a problem of either.
func (f *feeds) status() nacos.Status {
	s := f.main.Status()
	if f.access == f.main {
		return s
	}
	other := f.access.Status()
	s.Problems = append(append([]string(nil), s.Problems...), other.Problems...)
	if other.PushProof.Before(s.PushProof) { // the older one, or none
		s.PushProof = other.PushProof
	}
	if !other.Connected {
		s.Connected, s.Since, s.LastContact = false, other.Since, other.LastContact
	}
	return s
}

// resolve finds the addresses of Nacos, which no backend may have: HTTP, gRPC for clients and among members, raft and the
// console, whose port is another one. Names are looked up here and not at each dial; of one whose lookup fails, what was found
// before is kept, and the others' are found all the same.
func (f *feeds) resolve(ctx context.Context) {
	var all []netip.AddrPort
	for _, address := range f.nacos {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			host, port = address, "8848"
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			continue
		}
		if ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host); err == nil {
			f.hosts[host] = ips
		}
		for _, ip := range f.hosts[host] {
			for _, port := range nacosPorts(int(n), f.console) {
				all = append(all, netip.AddrPortFrom(ip.Unmap(), port))
			}
		}
	}
	f.last.Store(&all)
}

// nacosPorts returns the ports of a member whose HTTP side has port main; none for a console on port 0.
func nacosPorts(main, console int) []uint16 {
	var ports []uint16
	for _, port := range []int{main, main + 1000, main + 1001, main - 1000, console} {
		if port > 0 && port <= 65535 { // the guard takes 0 as any port
			ports = append(ports, uint16(port))
		}
	}
	return ports
}

func (f *feeds) addresses() []netip.AddrPort {
	if all := f.last.Load(); all != nil {
		return *all
	}
	return nil
}

func (f *feeds) close() {
	f.mu.Lock()
	watches := f.watches
	f.watches = nil
	f.mu.Unlock()
	for _, w := range watches {
		w.Close()
	}
	_ = f.main.Close()
	if f.access != f.main {
		_ = f.access.Close()
	}
}
