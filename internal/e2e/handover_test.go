package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// TestStoreIsHandedOver starts a proxy on the store of one that has not ended yet, as a restart does that does not wait for
// the drain: it knows what the other one kept, a rejected grants document's last good version too, and keeps what it learns
// itself once the other one has ended, and no more what was deleted. Seen red with a proxy that went on without a store.
func TestStoreIsHandedOver(t *testing.T) {
	s := directory(t)
	api := newRecorder(t, shop)
	s.put(t, "proxy-services", "one.yaml", ownService(api.URL, "one", "one"))
	s.put(t, "proxy-services", "gone.yaml", ownService(api.URL, "one", "one"))
	s.put(t, "proxy-consumers", "alice.yaml", consumer(aliceKey))
	s.put(t, "proxy-consumers", "bob.yaml", consumer(bobKey))
	s.put(t, "proxy-grants", "one.yaml", "consumers: [alice]\n")
	state := t.TempDir()
	kept := func(c *config.Config) { c.State.Path = state }
	first := start(t, s, kept).ready()
	s.put(t, "proxy-grants", "one.yaml", "consumers: [alice\n")
	eventually(t, 5*time.Second, "the bad version is there", func() bool { return first.document("proxy-grants", "one.yaml").State == "rejected" })
	time.Sleep(200 * time.Millisecond) // it is on disk
	second := start(t, s, kept).ready()
	if got := second.client("one", aliceKey).list().Status; got != 200 {
		t.Errorf("with the last good grants that the first one kept: %d", got)
	}
	if got := second.page("/status"); !strings.Contains(got, "in use by another process") {
		t.Errorf("/status does not say that the store is another's: %s", got)
	}
	s.put(t, "proxy-grants", "one.yaml", "consumers: [bob]\n") // both learn of it
	eventually(t, 5*time.Second, "the first one knows", func() bool { return first.client("one", bobKey).list().Status == 200 })
	if err := first.Drain(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the store is the second one's", func() bool { return strings.Contains(second.page("/metrics"), "\nnmp_store_failing 0\n") })
	s.remove(t, "proxy-services", "gone.yaml")
	s.put(t, "proxy-grants", "one.yaml", "consumers: [alice, bob]\n")
	eventually(t, 5*time.Second, "the second one knows", func() bool {
		return second.client("one", aliceKey).list().Status == 200 && second.document("proxy-services", "gone.yaml").DataID == ""
	})
	if err := second.Drain(); err != nil {
		t.Fatal(err)
	}
	var c config.Config
	s.configure(&c)
	if err := os.Rename(filepath.Join(c.Dir.Path, "config"), filepath.Join(c.Dir.Path, "away")); err != nil {
		t.Fatal(err)
	}
	third := start(t, s, kept).ready()
	for who, key := range map[string]string{"alice": aliceKey, "bob": bobKey} {
		if got := third.client("one", key).list().Status; got != 200 {
			t.Errorf("%s, by what the second one kept: %d", who, got)
		}
	}
	if d := third.document("proxy-services", "gone.yaml"); d.DataID != "" {
		t.Errorf("what was deleted is back: %+v", d)
	}
}
