package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// source is what commands need of one.
type source interface {
	Get(ctx context.Context, key nacos.Key) (nacos.Document, error)
	List(ctx context.Context, group string) ([]nacos.Entry, error)
	Publish(ctx context.Context, doc nacos.Document, expect string) error
	Remove(ctx context.Context, key nacos.Key) error
}

// documents is the one or two namespaces that the proxy's documents are in.
type documents struct {
	main, access source
	close        func()
	config       config.Config
}

// of gives the namespace that a group is in.
func (d *documents) of(group string) source {
	if group == registry.GroupConsumers || group == registry.GroupGrants {
		return d.access
	}
	return d.main
}

// get gives a document, or ok false if there is none.
func (d *documents) get(ctx context.Context, key nacos.Key) (doc nacos.Document, ok bool, err error) {
	doc, err = d.of(key.Group).Get(ctx, key)
	if errors.Is(err, nacos.ErrNotFound) {
		return nacos.Document{Key: key}, false, nil
	}
	return doc, err == nil, err
}

// extensions that a document of ours can have, the first taking precedence and being what we create.
var extensions = []string{".yaml", ".yml", ".json"}

// named gives the document of a name in a group of ours, whatever its extension; ok false if there is none.
func (d *documents) named(ctx context.Context, group, name string) (doc nacos.Document, ok bool, err error) {
	if !registry.ValidName(name) {
		return doc, false, fail(exitUsage, "%q is no valid name: 1 to 128 letters, digits, '.', '_' and '-'", name)
	}
	for _, ext := range extensions {
		doc, ok, err = d.get(ctx, nacos.Key{Group: group, DataID: name + ext})
		if ok || err != nil {
			return doc, ok, err
		}
	}
	return nacos.Document{Key: nacos.Key{Group: group, DataID: name + extensions[0]}}, false, nil
}

// names lists the names of a group's documents.
func (d *documents) names(ctx context.Context, group string) (map[string]nacos.Key, error) {
	entries, err := d.of(group).List(ctx, group)
	if err != nil {
		return nil, err
	}
	names := map[string]nacos.Key{}
	for _, e := range entries {
		if name, ok := registry.NameOf(e.Key.DataID); ok {
			if other, taken := names[name]; !taken || rankOf(e.Key) < rankOf(other) {
				names[name] = e.Key
			}
		}
	}
	return names, nil
}

func rankOf(k nacos.Key) int {
	for i, ext := range extensions {
		if strings.HasSuffix(k.DataID, ext) {
			return i
		}
	}
	return len(extensions)
}

// readers is how many documents are read at a time: enough to fill one connection to Nacos.
const readers = 16

// group reads all documents of a group. read, if not nil, hears of each.
func (d *documents) group(ctx context.Context, group string, read func()) ([]nacos.Document, error) {
	entries, err := d.of(group).List(ctx, group)
	if err != nil {
		return nil, err
	}
	docs := make([]nacos.Document, len(entries))
	var mu sync.Mutex
	var failed error
	next := make(chan int)
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for i := range next {
				doc, ok, err := d.get(ctx, entries[i].Key)
				mu.Lock()
				if err != nil && failed == nil {
					failed = err
				}
				if ok {
					docs[i] = doc
				}
				if read != nil {
					read()
				}
				mu.Unlock()
			}
		})
	}
	for i := range entries {
		mu.Lock()
		stop := failed != nil
		mu.Unlock()
		if stop {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	kept := docs[:0]
	for _, doc := range docs {
		if doc.Key.DataID != "" { // else it was removed meanwhile
			kept = append(kept, doc)
		}
	}
	return kept, nil
}

// openSources opens what the boot configuration says.
func openSources(ctx context.Context, cfg config.Config, log *slog.Logger) (*documents, error) {
	if cfg.Source == config.SourceDir {
		d, err := nacos.OpenDir(cfg.Dir.Path, log)
		if err != nil {
			return nil, err
		}
		return &documents{main: d, access: d, close: func() { d.Close() }}, nil
	}
	n := cfg.Nacos
	connect := func(namespace string) (*nacos.Client, error) {
		return nacos.Connect(ctx, nacos.Config{
			Addresses: n.Addresses, Namespace: namespace, Username: n.Username, Password: n.Password,
			AccessKey: n.AccessKey, SecretKey: n.SecretKey, Logger: log,
			TLS: nacos.TLS{Enabled: n.TLS.Enabled, CA: n.TLS.CA, Cert: n.TLS.Cert, Key: n.TLS.Key},
		})
	}
	main, err := connect(n.Namespace)
	if err != nil {
		return nil, err
	}
	if n.AccessNamespace == n.Namespace {
		return &documents{main: main, access: main, close: func() { main.Close() }}, nil
	}
	access, err := connect(n.AccessNamespace)
	if err != nil {
		main.Close()
		return nil, fmt.Errorf("open namespace %s: %w", n.AccessNamespace, err)
	}
	return &documents{main: main, access: access, close: func() { main.Close(); access.Close() }}, nil
}
