//go:build linux

package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// key is the key of the i-th consumer.
func key(i uint64) string {
	return fmt.Sprintf("nmp_bench%d_0123456789abcdefghijklmnopqrstuvwxyz", i)
}

// writeRegistry makes a registry directory: services of the kinds that are measured, others beside them, and consumers
// of which every other one holds a grant at the tool level and the rest at the service level.
func writeRegistry(dir, backend string, consumers, others int) error {
	put := func(group, name, content string) error {
		path := filepath.Join(dir, "config", group)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(path, name), []byte(content), 0o600)
	}
	if err := os.MkdirAll(filepath.Join(dir, "naming"), 0o700); err != nil {
		return err
	}
	var service, tool strings.Builder
	for i := range consumers {
		name := fmt.Sprintf("bench%d", i)
		if i%2 == 0 {
			fmt.Fprintf(&service, "  - %s\n", name)
		} else {
			fmt.Fprintf(&tool, "    - %s\n", name)
		}
		sum := sha256.Sum256([]byte(key(uint64(i))))
		if err := put("proxy-consumers", name+".yaml", fmt.Sprintf("enabled: true\nkeys:\n  - {id: k1, sha256: %x}\n", sum)); err != nil {
			return err
		}
	}
	grants := func(name string) string {
		return fmt.Sprintf("auth: required\nconsumers:\n%stools:\n  %s:\n%s", service.String(), name, tool.String())
	}
	for _, err := range []error{
		put("proxy-services", "echo.yaml", "upstream: {url: \"http://"+backend+"/mcp\", transport: streamable}\n"),
		put("proxy-grants", "echo.yaml", grants("echo")),
		put("proxy-services", "store.yaml", storeService(backend)),
		put("proxy-grants", "store.yaml", grants("get_item")),
	} {
		if err != nil {
			return err
		}
	}
	for i := range others {
		name := fmt.Sprintf("other%d.yaml", i)
		if err := put("proxy-services", name, otherService(backend, 10)); err != nil {
			return err
		}
		if err := put("proxy-grants", name, otherGrants(0)); err != nil {
			return err
		}
	}
	return nil
}

// storeService converts the backend's HTTP API.
func storeService(backend string) string {
	return `server: {name: store}
upstream: {url: "http://` + backend + `"}
tools:
  - name: get_item
    description: one item
    args: [{name: id, type: integer, required: true, position: path}]
    requestTemplate: {url: "/items/{id}", method: GET}
    responseTemplate: {body: "{{.name}} costs {{.price}}"}
`
}

func otherService(backend string, tools int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "upstream: {url: \"http://%s\"}\ntools:\n", backend)
	for t := range tools {
		fmt.Fprintf(&b, `  - name: tool_%d
    description: looks something up in the store, number %d
    args:
      - {name: id, type: integer, required: true, position: path}
      - {name: q, type: string, position: query, description: what to look for}
    requestTemplate: {url: "/items/{id}", method: GET}
    responseTemplate: {body: "{{.name}} costs {{.price}}"}
`, t, t)
	}
	return b.String()
}

// otherGrants is a grants document; edit makes it another one.
func otherGrants(edit int) string {
	return fmt.Sprintf("auth: required\nconsumers:\n  - bench0\n  - bench%d\n", edit%1000)
}

const headers = "HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\nMCP-Protocol-Version: 2025-11-25\r\n"

// post appends a POST of body with the key of a consumer.
func post(dst []byte, path string, consumer uint64, body []byte) []byte {
	dst = append(append(dst, "POST "...), path...)
	dst = append(append(dst, ' '), headers...)
	dst = fmt.Appendf(dst, "Authorization: Bearer nmp_bench%d_0123456789abcdefghijklmnopqrstuvwxyz\r\nContent-Length: %d\r\n\r\n", consumer, len(body))
	return append(dst, body...)
}

// echo calls the passthrough tool at path.
func echo(path string, consumers int) (request, expect func([]byte, uint64) []byte) {
	return func(dst []byte, n uint64) []byte {
			var b [256]byte
			body := fmt.Appendf(b[:0], `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello %d"}}}`, n, n*7)
			return post(dst, path, spread(n, consumers), body)
		}, func(dst []byte, n uint64) []byte {
			return fmt.Appendf(dst, `"id":%d,"result":{"content":[{"type":"text","text":"hello %d"}]`, n, n*7)
		}
}

// getItem calls the converted tool at path.
func getItem(path, tool string, consumers int) (request, expect func([]byte, uint64) []byte) {
	return func(dst []byte, n uint64) []byte {
			var b [256]byte
			body := fmt.Appendf(b[:0], `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s","arguments":{"id":%d}}}`, n, tool, n*7)
			return post(dst, path, spread(n, consumers), body)
		}, func(dst []byte, n uint64) []byte {
			return fmt.Appendf(dst, `item %d costs 12.5`, n*7)
		}
}

// plainItem asks the API itself.
func plainItem() (request, expect func([]byte, uint64) []byte) {
	return func(dst []byte, n uint64) []byte {
			return fmt.Appendf(dst, "GET /items/%d HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nUser-Agent: bench\r\n\r\n", n*7)
		}, func(dst []byte, n uint64) []byte {
			return fmt.Appendf(dst, `"name":"item %d","price":12.5`, n*7)
		}
}

// spread has neighbouring calls come from consumers far apart.
func spread(n uint64, consumers int) uint64 { return n * 7919 % uint64(consumers) }
