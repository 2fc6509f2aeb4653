package nacos_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// instances collects what a subscription told.
type instances struct {
	mu    sync.Mutex
	calls int
	hosts []string
	last  []nacos.Instance
	went  bool // was empty after it was not
}

func (v *instances) take(list []nacos.Instance) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(list) == 0 && len(v.last) > 0 {
		v.went = true
	}
	v.calls++
	v.last, v.hosts = list, nil
	for _, i := range list {
		v.hosts = append(v.hosts, i.Host)
	}
	slices.Sort(v.hosts)
}

func (v *instances) are(hosts ...string) func() bool {
	return func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.calls > 0 && slices.Equal(v.hosts, hosts)
	}
}

func TestNaming(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	c, owner := connect(t, s, inNamespace(ns)), connect(t, s, inNamespace(ns))
	ref := nacos.ServiceRef{Service: "mcp-endpoints::1.0"}
	var v instances
	stop, err := c.Subscribe(ref, v.take)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "an absent service is an empty list", v.are())
	one := nacos.Instance{Host: "10.0.0.1", Port: 80, Weight: 3, Metadata: map[string]string{"a": "b"}}
	two := nacos.Instance{Host: "10.0.0.2", Port: 80}
	if err := owner.Register(t.Context(), ref, one); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "one instance", v.are("10.0.0.1"))
	v.mu.Lock()
	if got := v.last[0]; got.Weight != 3 || !got.Healthy || !got.Enabled || got.Metadata["a"] != "b" || got.Port != 80 {
		t.Errorf("instance: %+v", got)
	}
	v.mu.Unlock()
	second := connect(t, s, inNamespace(ns)) // a connection holds one instance of a service
	if err := second.Register(t.Context(), ref, two); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "two instances", v.are("10.0.0.1", "10.0.0.2"))
	var late instances
	stopLate, err := c.Subscribe(ref, late.take)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "a second subscriber is told at once", late.are("10.0.0.1", "10.0.0.2"))
	stopLate()
	if err := owner.Deregister(t.Context(), ref, one); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil { // the end of the connection is the end of the instance
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the last instance gone is none", v.are())
	stop()
	if err := owner.Register(t.Context(), ref, one); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if !v.are()() || !late.are("10.0.0.1", "10.0.0.2")() {
		t.Error("called back after stop")
	}
}
