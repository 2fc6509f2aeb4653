package nacos_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/fakenacos"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// progress is what a watch tells, in its order.
type progress struct {
	v *view

	mu    sync.Mutex
	at    nacos.Progress
	since time.Time
	whole map[nacos.Key]string // what was known when it was last current
	loose int                  // changes that came while it was
}

func (p *progress) tell(at nacos.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.since = at, time.Now()
	if at == nacos.Current {
		p.whole = p.v.get()
	}
}

func (p *progress) take(changes []nacos.Change) {
	p.v.take(changes)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nacos.Current {
		p.loose += len(changes)
	}
}

func (p *progress) await(t *testing.T, want nacos.Progress, within time.Duration) {
	t.Helper()
	eventually(t, within, fmt.Sprint("progress ", want), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.at == want
	})
}

// TestProgress: what was missed is told of as such before any of it comes, and a watch is current only when all of it has come,
// removals included. A group that may not be read holds nothing up, and what comes when it may be again belongs together too.
// Seen red with a watch that is current when its documents are listened to, with one that a refusal holds up, and with one that
// takes the end of a refusal for an edit.
func TestProgress(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := fakenacos.New(t)
		defer s.Close()
		truth := map[nacos.Key]string{}
		put := func(group, id, content string) {
			truth[nacos.Key{Group: group, DataID: id}] = content
			s.Put("n", nacos.Key{Group: group, DataID: id}, content)
		}
		remove := func(group, id string) {
			delete(truth, nacos.Key{Group: group, DataID: id})
			s.Delete("n", nacos.Key{Group: group, DataID: id})
		}
		for _, group := range []string{"g", "h", "wanted"} {
			for i := range 9 {
				put(group, fmt.Sprint(i), "first")
			}
		}
		c, err := nacos.Connect(context.Background(), s.Config("n"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p := &progress{v: newView(), at: -1}
		w, err := c.Watch(nacos.WatchConfig{Groups: []string{"g", "h"}, OnChange: p.take, OnProgress: p.tell})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 9 {
			w.Want([]nacos.Key{{Group: "wanted", DataID: fmt.Sprint(i)}}, nil)
		}
		known := func(when string) {
			t.Helper()
			p.await(t, nacos.Current, 5*time.Second)
			p.mu.Lock()
			defer p.mu.Unlock()
			if !maps.Equal(p.whole, truth) {
				t.Errorf("%s: current with %v, true is %v", when, p.whole, truth)
			}
			if p.loose > 0 {
				t.Errorf("%s: %d changes came as if they were edits", when, p.loose)
			}
			p.loose = 0
		}
		known("at first")
		time.Sleep(time.Minute)

		s.Net.Refuse(fakenacos.GRPC, true)
		s.Net.Reset(fakenacos.GRPC)
		p.await(t, nacos.Away, time.Second)
		put("g", "0", "edited")
		remove("g", "1")
		put("h", "new", "first")
		time.Sleep(10 * time.Second)
		s.Net.Refuse(fakenacos.GRPC, false)
		known("after an outage")
		s.Net.Refuse(fakenacos.GRPC, true)
		s.Net.Reset(fakenacos.GRPC)
		p.await(t, nacos.Away, time.Second)
		remove("wanted", "3")
		s.Net.Refuse(fakenacos.GRPC, false)
		known("after one in which something went that no list covers")

		s.Forbid("h", true)
		s.Net.Reset(fakenacos.GRPC)
		p.await(t, nacos.Away, time.Second)
		time.Sleep(time.Second)
		p.await(t, nacos.Current, 4*time.Second)
		put("h", "2", "edited")
		remove("h", "4")
		time.Sleep(time.Minute)
		s.Forbid("h", false)
		p.await(t, nacos.CatchingUp, 10*time.Second)
		known("after a refusal")
	})
}
