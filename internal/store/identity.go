package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Identity tells sources apart: each has its own store, so that a proxy pointed at another Nacos, or at another
// namespace of the same one, does not serve what it knew of the first.
type Identity struct {
	Kind            string   // "nacos" or "dir"
	Addresses       []string // of the servers, in any order; or the directory's absolute path
	Namespace       string
	AccessNamespace string // empty if it is the same
}

// String gives the whole of it, e.g. "nacos 10.0.0.1:8848 namespace public".
func (i Identity) String() string {
	addresses := slices.Sorted(slices.Values(i.Addresses))
	s := i.Kind + " " + strings.Join(addresses, ",") + " namespace " + i.Namespace
	if i.AccessNamespace != "" && i.AccessNamespace != i.Namespace {
		s += " access " + i.AccessNamespace
	}
	return s
}

// fileName is readable as far as it goes, and different for every identity.
func (i Identity) fileName() string {
	sum := sha256.Sum256([]byte(i.String()))
	readable := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, i.Namespace)
	return i.Kind + "-" + readable[:min(len(readable), 40)] + "-" + hex.EncodeToString(sum[:6]) + ".db"
}

// DefaultDir is nacos-mcp-proxy in the user's state directory: $XDG_STATE_HOME or ~/.local/state, and on macOS and
// Windows where those keep such things. See the XDG Base Directory Specification 0.8.
func DefaultDir() (string, error) {
	const name = "nacos-mcp-proxy"
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, name), nil
	}
	switch runtime.GOOS {
	case "darwin", "windows":
		dir, err := os.UserConfigDir()
		return filepath.Join(dir, name), err
	}
	home, err := os.UserHomeDir()
	if err != nil || home == "" {
		return "", errors.New(`there is no home directory to keep it in; set state.path to a directory, or to "off"`)
	}
	return filepath.Join(home, ".local", "state", name), nil
}
