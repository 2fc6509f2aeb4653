package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// TestA24_DamageOpensNothing starts proxies from damaged stores, their source being away: bytes flipped all over the file and
// in each record of what closes something, the file cut, and a record, a bucket or the key missing. Who was denied before is
// denied: nobody without a key, a disabled consumer, one whose key or grant was revoked.
//
// Seen red with damaged records left out as if they had never been: then services without a grants document are open.
func TestA24_DamageOpensNothing(t *testing.T) {
	s := directory(t)
	api := newRecorder(t, shop)
	s.put(t, "proxy-services", "shut.yaml", ownService(api.URL, "one", "one"))
	s.put(t, "proxy-services", "free.yaml", ownService(api.URL, "one", "one"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-consumers", "carol.yaml", consumer(carolKey))
	s.put(t, "proxy-grants", "shut.yaml", "auth: disabled\nconsumers: [alice, bob, carol]\n")
	state := t.TempDir()
	kept := func(dir string) func(*config.Config) {
		return func(c *config.Config) {
			c.State.Path, c.Access.Default = dir, registry.AuthDisabled
		}
	}
	p := start(t, s, kept(state)).ready()
	eventually(t, 5*time.Second, "open at first", func() bool { return p.client("shut", "").list().Status == 200 })
	s.put(t, "proxy-grants", "shut.yaml", "auth: required\nconsumers: [alice, carol]\n")
	s.put(t, "proxy-consumers", "carol.yaml", "enabled: false\nkeys: [{id: k1, sha256: "+digest(carolKey)+"}]\n")
	eventually(t, 5*time.Second, "shut", func() bool {
		return p.client("shut", bobKey).list().Status == 403 && p.client("shut", carolKey).list().Status == 401
	})
	if err := p.Drain(); err != nil {
		t.Fatal(err)
	}
	var c config.Config
	s.configure(&c)
	if err := os.Rename(filepath.Join(c.Dir.Path, "config"), filepath.Join(c.Dir.Path, "away")); err != nil {
		t.Fatal(err)
	}
	var name string
	files := map[string][]byte{}
	if err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files[d.Name()], err = os.ReadFile(path)
			if strings.HasSuffix(d.Name(), ".db") {
				name = d.Name()
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	// try starts a proxy from these files. It returns what anybody may call, and alice.
	try := func(what string, files map[string][]byte) (free, alice bool) {
		t.Helper()
		dir := t.TempDir()
		for file, content := range files {
			if content == nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := start(t, s, kept(dir))
		for who, key := range map[string]string{"nobody": "", "bob": bobKey, "carol": carolKey} {
			if a := p.client("shut", key).call("one", "{}"); a.Status == 200 {
				t.Errorf("%s: %s may call: %s", what, who, a.Body)
			}
		}
		free = p.client("free", "").list().Status == 200
		alice = p.client("shut", aliceKey).list().Status == 200
		if err := p.Drain(); err != nil {
			t.Fatal(err)
		}
		return free, alice
	}
	with := func(content []byte) map[string][]byte {
		all := map[string][]byte{name: content}
		for file, was := range files {
			if file != name {
				all[file] = was
			}
		}
		return all
	}
	whole := files[name]
	if free, alice := try("undamaged", with(whole)); !free || !alice {
		t.Fatalf("undamaged: free %v, alice %v", free, alice)
	}

	random := rand.New(rand.NewPCG(11, 12))
	var at []int
	anywhere, inRecord := 40, 6
	if testing.Short() {
		anywhere, inRecord = 12, 2
	}
	for range anywhere {
		at = append(at, random.IntN(len(whole)))
	}
	for _, record := range []string{"proxy-grants\x00shut.yaml", "proxy-consumers\x00carol.yaml", "proxy-consumers\x00bob.yaml", "proxy-services\x00shut.yaml", "identity"} {
		for from := 0; ; {
			i := bytes.Index(whole[from:], []byte(record))
			if i < 0 {
				break
			}
			from += i
			for range inRecord {
				at = append(at, min(len(whole)-1, from+random.IntN(len(record)+60)))
			}
			from++
		}
	}
	usable := 0
	for _, i := range at {
		bad := bytes.Clone(whole)
		bad[i] ^= byte(1 + random.IntN(255))
		if free, _ := try(fmt.Sprintf("byte %d flipped", i), with(bad)); free {
			usable++
		}
	}
	if usable < len(at)/2 {
		t.Errorf("after %d of %d flips what is open to all cannot be called", len(at)-usable, len(at))
	}
	for n := range 6 {
		size := len(whole) * n / 6
		try(fmt.Sprintf("cut to %d", size), with(whole[:size]))
	}
	try("without its key", map[string][]byte{name: whole})
}
