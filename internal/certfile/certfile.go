// Package certfile keeps certificates, keys and authorities of PEM files current while the files are replaced.
// It must never take what is not whole, and never read a file for a handshake.
package certfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/hostfile"
)

// Every is the time between two looks at the files. They are read, not watched: a secret that Kubernetes mounts changes by
// a link two directories above, and what a network file system tells of changes made elsewhere is nothing.
const Every = time.Second

// Files names PEM files. Names that are empty stand for none; Cert and Key go together.
type Files struct {
	Use           string // what they are for, as settings have it: "tls"
	Cert, Key, CA string
	CAField       string // of Use, that names CA: "clientCA"
}

// Material is what the files held when it was last good. It is immutable.
type Material struct {
	Pair   *tls.Certificate // with its Leaf; nil: none is named
	CAs    []byte           // PEM of at least one certificate; nil: none are named
	digest [2][sha256.Size]byte
}

// Pool returns the authorities, besides those of base, which may be nil and is changed. It returns base if there are none.
func (m *Material) Pool(base *x509.CertPool) *x509.CertPool {
	if m.CAs == nil {
		return base
	}
	if base == nil {
		base = x509.NewCertPool()
	}
	base.AppendCertsFromPEM(m.CAs)
	return base
}

// State is how the files stand.
type State struct {
	Use string `json:"use"`
	// NotAfter is when the certificate in force ends, or the first of its chain; missing where only authorities are named.
	NotAfter *time.Time `json:"notAfter,omitempty"`
	Loaded   time.Time  `json:"loaded"` // when what is in force was read
	// Problem is why newer files are not taken; empty if they are.
	Problem string `json:"problem,omitempty"`
}

// Expires returns how long the certificate in force holds from now on, negative where it has ended; false without one.
func (s State) Expires(now time.Time) (time.Duration, bool) {
	if s.NotAfter == nil {
		return 0, false
	}
	return s.NotAfter.Sub(now), true
}

// Current is what Files hold at present, as far as it is good.
type Current struct {
	files  Files
	log    *slog.Logger
	change func(*Material)
	now    func() time.Time

	mu       sync.Mutex
	material *Material
	state    State
	logged   string // the last problem
}

// Load reads files, which must be good. change is called with what they hold, now and whenever that is another; it must
// not call the Current. Have Follow keep them current.
func Load(files Files, log *slog.Logger, change func(*Material)) (*Current, error) {
	c := &Current{files: files, log: log, change: change, now: time.Now, material: &Material{}}
	m, err := c.read(&Material{})
	if err != nil {
		return nil, err
	}
	c.take(m)
	return c, nil
}

// Follow looks at the files regularly until ctx ends.
func (c *Current) Follow(ctx context.Context) {
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.Check()
		}
	}
}

// Check looks at the files now. Certificate and key are taken together or not at all, authorities by themselves.
func (c *Current) Check() {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.read(c.material)
	if err != nil {
		m, err = c.read(c.material) // the files may have been replaced between two reads
	}
	changed := m.digest != c.material.digest
	if changed {
		c.take(m)
		c.log.Info("certificates were taken anew", "use", c.files.Use, "notAfter", c.state.NotAfter)
	}
	c.state.Problem = ""
	if err != nil {
		c.state.Problem = err.Error()
	}
	switch {
	case err != nil && c.logged != c.state.Problem:
		c.log.Error("certificates cannot be taken anew: those of before stay in force", "use", c.files.Use, "error", err, "notAfter", c.state.NotAfter)
	case err == nil && c.logged != "" && !changed:
		c.log.Info("certificates are those in force again", "use", c.files.Use)
	}
	c.logged = c.state.Problem
}

// State returns how the files stand, from memory.
func (c *Current) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *Current) take(m *Material) {
	c.material = m
	c.state = State{Use: c.files.Use, Loaded: c.now().UTC()}
	if m.Pair != nil {
		end := m.Pair.Leaf.NotAfter
		for _, der := range m.Pair.Certificate[1:] {
			if cert, err := x509.ParseCertificate(der); err == nil && cert.NotAfter.Before(end) {
				end = cert.NotAfter
			}
		}
		end = end.UTC()
		c.state.NotAfter = &end
	}
	c.change(m)
}

// read returns what the files hold; where some of it is bad, it is that of old, and the error says why.
func (c *Current) read(old *Material) (*Material, error) {
	m := *old
	var first error
	if c.files.Cert != "" {
		if err := m.readPair(c.files); err != nil {
			first = err
		}
	}
	if c.files.CA != "" {
		if err := m.readCAs(c.files); err != nil && first == nil {
			first = err
		}
	}
	return &m, first
}

func (m *Material) readPair(f Files) error {
	cert, err := hostfile.Read(f.Cert)
	if err != nil {
		return fmt.Errorf("read %s.cert: %w", f.Use, err)
	}
	key, err := hostfile.Read(f.Key)
	if err != nil {
		return fmt.Errorf("read %s.key: %w", f.Use, err)
	}
	digest := digestOf(cert, key)
	if digest == m.digest[0] {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("load %s.cert and %s.key: %w", f.Use, f.Use, err)
	}
	m.Pair, m.digest[0] = &pair, digest
	return nil
}

func (m *Material) readCAs(f Files) error {
	content, err := hostfile.Read(f.CA)
	if err != nil {
		return fmt.Errorf("read %s.%s: %w", f.Use, f.CAField, err)
	}
	digest := digestOf(content)
	if digest == m.digest[1] {
		return nil
	}
	// All of them: of a file that is being written the first ones may be whole, and those that follow are not to be missed.
	n := 0
	for rest := content; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("load %s.%s: certificate %d: %w", f.Use, f.CAField, n+1, err)
		}
	}
	if !x509.NewCertPool().AppendCertsFromPEM(content) {
		return fmt.Errorf("load %s.%s: %s holds no PEM certificate", f.Use, f.CAField, f.CA)
	}
	if begun := bytes.Count(content, []byte("-----BEGIN ")); begun != n {
		return fmt.Errorf("load %s.%s: %d of %d PEM blocks are whole", f.Use, f.CAField, n, begun)
	}
	m.CAs, m.digest[1] = content, digest
	return nil
}

// digestOf tells contents apart, of which each ends where it does.
func digestOf(contents ...[]byte) [sha256.Size]byte {
	h := sha256.New()
	for _, b := range contents {
		fmt.Fprintf(h, "%d:", len(b))
		h.Write(b)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
