package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/openapi"
)

// Bounds of reading an API description. The importer bounds all of its documents together.
const (
	maxDescription  = 64 << 20
	descriptionTime = 30 * time.Second // for one document
	maxRedirects    = 5
)

// description is an API description and what is needed to follow its references.
type description struct {
	content []byte
	source  string // what references are relative to
	load    openapi.Loader
	close   func()
}

// openDescription reads an API description from a file, a URL, or standard input for "-". References of a file lead to
// files in its directory and below, links that lead out of it not followed, and to URLs; those of a URL to URLs only.
func (p *program) openDescription(ctx context.Context, where string) (*description, error) {
	web := newWeb()
	d := &description{close: web.client.CloseIdleConnections}
	d.load = func(ctx context.Context, ref string) ([]byte, error) {
		if isURL(ref) {
			return web.get(ctx, ref)
		}
		return nil, errors.New("is no URL: files can be referred to from files only")
	}
	var err error
	switch {
	case isURL(where):
		d.source = where
		if d.content, err = web.get(ctx, where); err != nil {
			return nil, fail(exitFailed, "read description: %w", err)
		}
	case where == "-":
		if d.content, err = limited(p.in); err != nil {
			return nil, fmt.Errorf("read description: %w", err)
		}
	default:
		root, err := os.OpenRoot(filepath.Dir(where))
		if err != nil {
			return nil, fail(exitNotFound, "read description: %w", err)
		}
		d.close = func() { web.client.CloseIdleConnections(); root.Close() }
		d.source = filepath.Base(where)
		if d.content, err = readFile(where); err != nil {
			d.close()
			return nil, fail(exitNotFound, "read description: %w", err)
		}
		d.load = loadFrom(root, web)
	}
	return d, nil
}

// loadFrom reads references from below a directory or from the web.
func loadFrom(root *os.Root, web *web) openapi.Loader {
	files := openapi.Files(root.FS())
	return func(ctx context.Context, ref string) ([]byte, error) {
		if isURL(ref) {
			return web.get(ctx, ref)
		}
		if info, err := root.Stat(filepath.FromSlash(ref)); err == nil && info.Size() > maxDescription {
			return nil, errTooLarge
		}
		return files(ctx, ref)
	}
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

var errTooLarge = fmt.Errorf("is larger than %d MiB", maxDescription>>20)

func limited(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDescription+1))
	if err == nil && len(b) > maxDescription {
		err = errTooLarge
	}
	return b, err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return limited(f)
}

// web reads descriptions from the network. What they say is not trusted: a description must not make us fetch what
// only this machine may see of its cloud, nor a redirect take us from https to http.
type web struct{ client *http.Client }

func newWeb() *web {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); err != nil || isMetadata(at.Addr().Unmap()) {
			return errors.New("leads to an address that descriptions may not be read from")
		}
		return nil
	}}
	return &web{&http.Client{
		Timeout:   descriptionTime,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("more than %d redirects", maxRedirects)
			case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
				return errors.New("a redirect leads from https to http")
			}
			return nil
		},
	}}
}

// metadata are the addresses of cloud metadata that are not link-local.
var metadata = []netip.Addr{netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("fd00:ec2::254")}

func isMetadata(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || a == metadata[0] || a == metadata[1]
}

func (w *web) get(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("is no valid URL")
	case u.User != nil:
		return nil, errors.New("has a password in its URL, which would be stored: download the description first")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/yaml, */*;q=0.5")
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, resp.Status)
	}
	return limited(resp.Body)
}
