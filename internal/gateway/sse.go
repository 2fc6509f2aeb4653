package gateway

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/relay"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// sessionParameter names the HTTP+SSE session in the query of its message endpoint.
const sessionParameter = "sessionId"

// serveSSE serves the HTTP+SSE transport of 2024-11-05: GET /sse/{service} is the stream, POST /sse/{service}/message
// its endpoint. Every message goes through the very steps of Streamable HTTP, its key and grant included.
func (g *Gateway) serveSSE(w http.ResponseWriter, r *http.Request, start time.Time, target string) {
	target, isMessage := strings.CutSuffix(target, "/message")
	name, version, _ := strings.Cut(target, "@")
	c := g.calls.Get().(*call)
	c.begin(g, w, r, start, name, version)
	defer c.finish()
	if !c.admit() {
		return
	}
	switch {
	case isMessage && r.Method == http.MethodPost:
		c.sseMessage()
	case !isMessage && r.Method == http.MethodGet:
		c.sseStream(target)
	case isMessage:
		c.refuse(wire.MethodNotAllowed, "")
	default:
		w.Header().Set("Allow", http.MethodGet)
		// Clients of both transports try a POST first and take this for "speak HTTP+SSE" (2025-03-26, compatibility).
		c.refuse(wire.MethodNotAllowed, "Method not allowed: GET this URL, or use /mcp/"+target)
	}
}

func (c *call) sseStream(target string) {
	if !c.limit() {
		return
	}
	x := c.exchange()
	x.View = c.view()
	if x.Consumer == "" {
		x.Address = c.neighbourhood()
	}
	// The key may have come in the query: the endpoint must repeat it, as the client will not.
	query := c.r.URL.Query()
	g := c.g
	name, version := c.name, c.version
	client := relay.SSEClient{
		Service: x.Service, Version: x.Version, Consumer: x.Consumer, Address: x.Address, Key: x.Key, View: x.View,
		Endpoint: func(session string) string {
			keep := url.Values{sessionParameter: {session}}
			for key, values := range query {
				if key != sessionParameter {
					keep[key] = values
				}
			}
			return "/sse/" + target + "/message?" + keep.Encode()
		},
		Handle: func(w http.ResponseWriter, req *http.Request, body []byte) {
			req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			req.URL = &url.URL{Path: "/mcp/" + target, RawQuery: query.Encode()}
			g.serve(w, req, time.Now(), name, version, true)
		},
	}
	c.carried(g.options.Relay.ServeSSE(c.w, c.r, client))
}

// sseMessage takes a message for a stream; the answer comes there.
func (c *call) sseMessage() {
	if !c.readBody() {
		return
	}
	if err := wire.Scan(c.body, &c.env); err != nil {
		c.refuseScan(err)
		return
	}
	session := c.r.URL.Query().Get(sessionParameter)
	c.carried(c.g.options.Relay.PostSSE(c.w, c.r, session, c.name, c.variant.Version, c.consumerName(), c.body, &c.env))
}
