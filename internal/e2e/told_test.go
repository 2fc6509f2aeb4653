package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// checkTold connects every client to every service, one after the other, and edits grants until it has been told that its
// list of tools is another one: on the stream that it keeps open, or by its subscription.
func checkTold(t *testing.T, clients []realClient, s *source, p *proxy, backends []backend) {
	for _, c := range clients {
		if c.library {
			continue // lists and calls, and no more
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := "/mcp/told-"
			if c.transport == "sse" {
				path = "/sse/told-"
			}
			var visits []visit
			var services []string
			for _, b := range backends {
				if b.service == "modern" && c.mode != "auto" {
					continue // that backend keeps no sessions, and so no streams in the legacy era
				}
				services = append(services, b.service)
				visits = append(visits, visit{
					Client: c.client, Mode: c.mode, Transport: c.transport, URL: p.URL + path + b.service, Key: aliceKey, Steps: []step{{Op: "changed"}},
				})
			}
			stop := edit(t, s, services)
			defer stop()
			saw := runVisits(t, visits, c.program...)
			for i, service := range services {
				if len(saw[i]) != 2 || saw[i][1].Text != "changed" {
					t.Errorf("%s: %+v", service, saw[i])
				}
			}
		})
	}
}

// edit edits the grants of services, which takes nothing from alice, until stop is called.
func edit(t *testing.T, s *source, services []string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			grants := []string{"consumers: [alice]\n", "consumers: [alice, bob]\n"}[i%2]
			select {
			case <-ctx.Done():
				return
			case <-time.After(300 * time.Millisecond):
			}
			for _, service := range services {
				key := nacos.Key{Group: "proxy-grants", DataID: "told-" + service + ".yaml"}
				if err := s.try(t, key.Group, key.DataID, grants); err != nil {
					t.Errorf("publish %s: %v", key, err)
				}
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
