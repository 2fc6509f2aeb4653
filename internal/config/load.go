package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/hostfile"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// Faults is everything wrong with a boot configuration.
type Faults []string

// Error lists the faults, one to a line.
func (f Faults) Error() string {
	if len(f) == 1 {
		return "boot configuration: " + f[0]
	}
	return fmt.Sprintf("boot configuration has %d faults:\n  %s", len(f), strings.Join(f, "\n  "))
}

// Load reads the boot configuration. fs has the flags of SourceFlags and perhaps ServeFlags, parsed; nil means no flags.
// The error is Faults.
func Load(fs *pflag.FlagSet) (Config, error) {
	l := &loader{v: viper.New(), fs: fs, lines: map[string]int{}, all: settings()}
	for _, s := range l.all {
		l.v.SetDefault(s.key, s.def)
		if err := l.v.BindEnv(s.key, s.env()); err != nil {
			return Config{}, err
		}
		if f := l.lookup(s.flag()); f != nil && !s.secret {
			if err := l.v.BindPFlag(s.key, f); err != nil {
				return Config{}, err
			}
		}
	}
	l.readFile()
	var c Config
	for _, s := range l.all {
		v := l.v.Get(s.key)
		if v == nil { // "key:" with nothing behind it
			v = s.def
		}
		if err := s.set(&c, v); err != nil {
			l.fault("%s%s %w", l.origin(s), s.key, err)
		}
	}
	l.check(&c)
	c.Warnings = l.unknownEnv()
	if len(l.faults) > 0 {
		return Config{}, l.faults
	}
	if c.Nacos.AccessNamespace == "" {
		c.Nacos.AccessNamespace = c.Nacos.Namespace
	}
	return c, nil
}

// Default is the configuration with nothing given, not even by the environment.
func Default() Config {
	var c Config
	for _, s := range settings() {
		if err := s.set(&c, s.def); err != nil {
			panic(fmt.Sprintf("default of %s %v", s.key, err))
		}
	}
	c.Nacos.AccessNamespace = c.Nacos.Namespace
	return c
}

// loader is the state of one Load.
type loader struct {
	v      *viper.Viper
	fs     *pflag.FlagSet
	all    []setting
	file   string
	lines  map[string]int // by key, of what the file gives
	faults Faults
}

func (l *loader) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Errorf(format, args...).Error())
}

func (l *loader) lookup(flag string) *pflag.Flag {
	if l.fs == nil {
		return nil
	}
	return l.fs.Lookup(flag)
}

// below reports whether a file lies below dir, by its name or by where links lead.
func below(dir, file string) bool {
	file, err := filepath.Abs(file)
	if err != nil {
		return false
	}
	if _, ok := hostfile.Within(dir, file); ok {
		return true
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	_, ok := hostfile.Within(dir, file)
	return ok
}

// origin says where the value of a setting came from.
func (l *loader) origin(s setting) string {
	if f := l.lookup(s.flag()); f != nil && f.Changed {
		return "--" + f.Name + ": "
	}
	if os.Getenv(s.env()) != "" {
		return s.env() + ": "
	}
	if line := l.lines[s.key]; line > 0 {
		return fmt.Sprintf("%s:%d: ", l.file, line)
	}
	return ""
}

// readFile gives viper what the file says, and reports what it says that nobody asked for.
func (l *loader) readFile() {
	l.file = os.Getenv(envPrefix + "CONFIG")
	if f := l.lookup("config"); f != nil && f.Changed {
		l.file = f.Value.String()
	}
	if l.file == "" {
		return
	}
	f, err := os.Open(l.file)
	if err != nil {
		l.fault("%w", err)
		return
	}
	defer f.Close()
	dec := yaml.NewDecoder(io.LimitReader(f, 1<<20))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			l.fault("%s: %s", l.file, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		return
	}
	if !errors.Is(dec.Decode(&more), io.EOF) {
		l.fault("%s: holds more than one document", l.file)
		return
	}
	n := len(l.faults)
	given := l.walk(doc.Content[0], "")
	if len(l.faults) == n || len(given) > 0 {
		if err := l.v.MergeConfigMap(given); err != nil {
			l.fault("%s: %w", l.file, err)
		}
	}
}

// walk reads a mapping; path is empty or ends with a dot.
func (l *loader) walk(n *yaml.Node, path string) map[string]any {
	given := map[string]any{}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return given
	}
	if n.Kind != yaml.MappingNode {
		l.fault("%s:%d: %s is no mapping of keys to values", l.file, n.Line, cmp.Or(strings.TrimSuffix(path, "."), "the file"))
		return given
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		key := path + k.Value
		if first, ok := seen[key]; ok {
			l.fault("%s:%d: %s is given again, first in line %d", l.file, k.Line, key, first)
			continue
		}
		seen[key] = k.Line
		switch leaf, branch := l.known(key); {
		case leaf:
			l.lines[key] = v.Line
			var value any
			if err := v.Decode(&value); err != nil {
				l.fault("%s:%d: %s: %s", l.file, v.Line, key, strings.TrimPrefix(err.Error(), "yaml: "))
				continue
			}
			if value != nil {
				given[k.Value] = value
			}
		case branch:
			given[k.Value] = l.walk(v, key+".")
		default:
			l.fault("%s:%d: unknown key %q%s", l.file, k.Line, key, spelling.DidYouMean(key, l.names()))
		}
	}
	return given
}

func (l *loader) known(key string) (leaf, branch bool) {
	for _, s := range l.all {
		if s.key == key {
			return true, false
		}
		branch = branch || strings.HasPrefix(s.key, key+".")
	}
	return false, branch
}

// names are all keys, those of sections too.
func (l *loader) names() []string {
	var names []string
	for _, s := range l.all {
		for i, r := range s.key {
			if r == '.' && !slices.Contains(names, s.key[:i]) {
				names = append(names, s.key[:i])
			}
		}
		names = append(names, s.key)
	}
	return names
}

// check looks at what settings are together.
func (l *loader) check(c *Config) {
	if host, _, err := net.SplitHostPort(c.Admin.Listen); err == nil && !loopback(host) && c.Admin.Token.Empty() {
		l.fault("admin.token is needed, because admin.listen %s can be reached from elsewhere (set NMP_ADMIN_TOKEN, or listen on 127.0.0.1)", c.Admin.Listen)
	}
	if c.Listen == c.Admin.Listen && !strings.HasSuffix(c.Listen, ":0") && c.Listen != "" {
		l.fault("listen and admin.listen are both %s", c.Listen)
	}
	n := c.Nacos
	if c.Source == SourceNacos && len(n.Addresses) == 0 {
		l.fault("nacos.addresses is empty (set it to host:port of a Nacos server)")
	}
	if n.Username != "" && n.AccessKey != "" {
		l.fault("nacos.username and nacos.accessKey are both given; keep one")
	}
	if n.Username == "" && !n.Password.Empty() {
		l.fault("nacos.password is given without nacos.username")
	}
	if (n.AccessKey == "") != n.SecretKey.Empty() {
		l.fault("nacos.accessKey and nacos.secretKey are needed together")
	}
	if (n.TLS.Cert == "") != (n.TLS.Key == "") {
		l.fault("nacos.tls.cert and nacos.tls.key are needed together")
	}
	if !n.TLS.Enabled && n.TLS.CA+n.TLS.Cert+n.TLS.Key != "" {
		l.fault("nacos.tls has files, but nacos.tls.enabled is false")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		l.fault("tls.cert and tls.key are needed together")
	}
	if c.TLS.ClientCA != "" && c.TLS.Cert == "" {
		l.fault("tls.clientCA is given without tls.cert")
	}
	for _, file := range [][2]string{{"nacos.tls.cert", n.TLS.Cert}, {"nacos.tls.key", n.TLS.Key}, {"tls.cert", c.TLS.Cert}, {"tls.key", c.TLS.Key}} {
		if file[1] != "" && c.Upstream.TLSDir != "" && below(c.Upstream.TLSDir, file[1]) {
			l.fault("%s lies below upstream.tlsDir, where everybody who may publish services can use it; keep the proxy's own identity elsewhere", file[0])
		}
	}
	for _, file := range [][2]string{{"nacos.tls.ca", n.TLS.CA}, {"nacos.tls.cert", n.TLS.Cert}, {"nacos.tls.key", n.TLS.Key},
		{"tls.cert", c.TLS.Cert}, {"tls.key", c.TLS.Key}, {"tls.clientCA", c.TLS.ClientCA}} {
		if file[1] == "" {
			continue
		}
		f, err := os.Open(file[1])
		if err != nil {
			l.fault("%s: %w", file[0], err)
			continue
		}
		f.Close()
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// unknownEnv warns of NMP_* variables that mean nothing. They are no faults: Kubernetes makes some up for a service that
// happens to be called nmp.
func (l *loader) unknownEnv() []string {
	names := []string{envPrefix + "CONFIG", envPrefix + "KEY", envPrefix + "URL"}
	for _, s := range l.all {
		names = append(names, s.env())
	}
	var unknown []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, envPrefix+"TEST_") {
			continue // of our own tests
		}
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(names, name) {
			unknown = append(unknown, fmt.Sprintf("environment variable %s means nothing%s", name, spelling.DidYouMean(name, names)))
		}
	}
	slices.Sort(unknown)
	return unknown
}
