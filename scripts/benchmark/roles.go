//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/app"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// role runs one part until it is ended.
func role(name string, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("needs an address, or a file for tables")
	}
	switch name {
	case "backend":
		return http.ListenAndServe(args[0], backend())
	case "reverse":
		h, err := reverse(args[1])
		if err != nil {
			return err
		}
		return http.ListenAndServe(args[0], h)
	case "gosdk":
		return http.ListenAndServe(args[0], gosdk(args[1]))
	case "proxy":
		return profiled(args[0], args[1], args[2])
	case "tables":
		return tables(os.Stdout, args[0])
	case "flame":
		return flame(args[0], args[1], "CPU profile")
	case "watched":
		return watched(args[0], args[1], args[2], args[3])
	}
	return fmt.Errorf("no such role")
}

// profiled is the proxy as it is served, with a CPU profile of it written when it is ended: for PGO, and to read.
func profiled(address, registry, profile string) error {
	f, err := os.Create(profile)
	if err != nil {
		return err
	}
	defer f.Close()
	go func() {
		time.Sleep(3 * time.Second) // the registry has been read
		_ = pprof.StartCPUProfile(f)
	}()
	err = serveHere(address, registry)
	pprof.StopCPUProfile()
	if m, err := os.Create(profile + ".allocs"); err == nil {
		_ = pprof.Lookup("allocs").WriteTo(m, 0)
		_ = m.Close()
	}
	return err
}

// serveHere is the proxy as it is served, in this process, until SIGTERM.
func serveHere(address, registry string) error {
	c := config.Default()
	c.Listen, c.Admin.Listen, c.Source, c.Dir.Path = address, "127.0.0.1:0", config.SourceDir, registry
	c.State.Path = config.StateOff
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return app.Run(ctx, c, "bench", slog.New(slog.DiscardHandler), nil)
}

// watched is the proxy with a line about its memory written to a file every so often, each after a forced collection:
// seconds, live heap and resident memory in MB, goroutines.
func watched(address, registry, samples, every string) error {
	pause, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	f, err := os.Create(samples)
	if err != nil {
		return err
	}
	defer f.Close()
	began := time.Now()
	go func() {
		for range time.Tick(pause) {
			debug.FreeOSMemory()
			live := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
			metrics.Read(live)
			self := &process{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}
			resident, err := self.memory("VmRSS")
			if err != nil {
				return
			}
			fmt.Fprintf(f, "%.1f %.3f %.3f %d\n", time.Since(began).Seconds(), float64(live[0].Value.Uint64())/1e6, float64(resident)/1e6, runtime.NumGoroutine())
		}
	}()
	return serveHere(address, registry)
}

type bufferPool struct{ sync.Pool }

func (p *bufferPool) Get() []byte  { return *p.Pool.Get().(*[]byte) }
func (p *bufferPool) Put(b []byte) { p.Pool.Put(&b) }

// reverse is httputil.ReverseProxy with what makes it fast: pooled buffers and as many kept connections as clients.
func reverse(target string) (http.Handler, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(u) },
		BufferPool: &bufferPool{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}},
		Transport:  &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 512, DisableCompression: true},
	}, nil
}

// gosdk is what one would write instead of a definition: a server of the official SDK that calls the API in its handler.
func gosdk(api string) http.Handler {
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 512, DisableCompression: true}}
	s := mcp.NewServer(&mcp.Implementation{Name: "store", Version: "1"}, nil)
	type in struct {
		ID int `json:"id"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "get_item", Description: "one item"},
		func(ctx context.Context, _ *mcp.CallToolRequest, x in) (*mcp.CallToolResult, any, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/items/"+strconv.Itoa(x.ID), nil)
			if err != nil {
				return nil, nil, err
			}
			resp, err := client.Do(req)
			if err != nil {
				return nil, nil, err
			}
			defer resp.Body.Close()
			var item struct {
				Name  string
				Price json.Number
			}
			if err := json.NewDecoder(resp.Body).Decode(&item); err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: item.Name + " costs " + item.Price.String()}}}, nil, nil
		})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
}
