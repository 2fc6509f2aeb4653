//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
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
		return fmt.Errorf("needs an address")
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
	}
	return fmt.Errorf("no such role")
}

// profiled is the proxy as it is served, with a CPU profile of it written when it is ended: for PGO, and to read.
func profiled(address, registry, profile string) error {
	c := config.Default()
	c.Listen, c.Admin.Listen, c.Source, c.Dir.Path = address, "127.0.0.1:0", config.SourceDir, registry
	c.State.Path = config.StateOff
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	f, err := os.Create(profile)
	if err != nil {
		return err
	}
	defer f.Close()
	go func() {
		time.Sleep(3 * time.Second) // the registry has been read
		_ = pprof.StartCPUProfile(f)
	}()
	err = app.Run(ctx, c, "bench", slog.New(slog.DiscardHandler), nil)
	pprof.StopCPUProfile()
	if m, err := os.Create(profile + ".allocs"); err == nil {
		_ = pprof.Lookup("allocs").WriteTo(m, 0)
		_ = m.Close()
	}
	return err
}

// backend is the cheapest honest one: an HTTP API, and an MCP server that knows one tool and streams.
func backend() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/items/", func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/items/")
		body := make([]byte, 0, 128)
		body = append(append(body, `{"id":`...), id...)
		body = append(append(body, `,"name":"item `...), id...)
		body = append(body, `","price":12.5,"tags":["small","blue"],"stock":{"here":3,"there":4}}`...)
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.Write(body)
	})
	mux.HandleFunc("/mcp", speakMCP)
	return mux
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// speakMCP answers tools/call of echo, and of the tools that streams are measured with.
func speakMCP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	in := bodies.Get().(*bytes.Buffer)
	in.Reset()
	defer bodies.Put(in)
	if _, err := in.ReadFrom(r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id, text := between(in.Bytes(), `"id":`, ","), between(in.Bytes(), `"text":"`, `"`)
	switch {
	case id == nil:
		http.Error(w, "no id", http.StatusBadRequest)
	case string(text) == "ticks":
		ticks(w, id)
	case string(text) == "big":
		big(w, id)
	default:
		body := make([]byte, 0, 256)
		body = append(append(body, `{"jsonrpc":"2.0","id":`...), id...)
		body = append(append(body, `,"result":{"content":[{"type":"text","text":"`...), text...)
		body = append(body, `"}],"isError":false}}`...)
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.Write(body)
	}
}

// ticks sends events that say when they were sent.
func ticks(w http.ResponseWriter, id []byte) {
	w.Header().Set("Content-Type", "text/event-stream")
	for range tickCount {
		time.Sleep(3 * time.Millisecond)
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":%d}}\n\n", time.Now().UnixNano())
		w.(http.Flusher).Flush()
	}
	fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"content\":[]}}\n\n", id)
}

const (
	tickCount = 200
	bigSize   = 10 << 20
)

// big sends a result of 10 MiB.
func big(w http.ResponseWriter, id []byte) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"`, id)
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 2<<10)
	for n := 0; n < bigSize; n += len(chunk) {
		w.Write(chunk)
	}
	io.WriteString(w, `"}]}}`)
}

func between(b []byte, before, after string) []byte {
	i := bytes.Index(b, []byte(before))
	if i < 0 {
		return nil
	}
	b = b[i+len(before):]
	if j := bytes.Index(b, []byte(after)); j >= 0 {
		return b[:j]
	}
	return nil
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
