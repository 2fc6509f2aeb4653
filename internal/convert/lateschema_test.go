package convert

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

func lateTools(n int) *registry.Definition {
	def := &registry.Definition{Name: "s", Kind: registry.ConvertedDocument}
	for i := range n {
		def.Tools = append(def.Tools, registry.Tool{
			Name: fmt.Sprint("tool_", i), Description: "d",
			Args:        []registry.Arg{{Name: "id", Type: "integer", Required: true}, {Name: "q", Type: "string"}},
			InputSchema: []byte(`{"type": "object", "properties": {"id": {"type": "integer"}, "q": {"type": "string"}}, "required": ["id"]}`),
			Request:     registry.RequestTemplate{URL: "http://127.0.0.1:9/items/{id}", Method: "GET"},
		})
	}
	return def
}

// TestSchemasAreCompiledWhenNeeded: a call that the quick check takes needs none; one with a fault gets the words of the
// compiled schema, however many come at once. Seen red with schemas compiled from the entry's bytes one place off.
func TestSchemasAreCompiledWhenNeeded(t *testing.T) {
	s, found := Compile(lateTools(1), Options{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	tool := s.Tools["tool_0"]
	if faults := tool.arguments(new(arguments), []byte(`{"id": 1}`)); faults != nil || tool.input.compiled.Load() != nil {
		t.Errorf("a usual call: faults %v, schema compiled: %t", faults, tool.input.compiled.Load() != nil)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			got := tool.arguments(new(arguments), []byte(`{"id": "x", "q": 1, "other": null}`))
			if diff := cmp.Diff([]string{`argument "id" must be integer, not string`, `argument "q" must be string, not number`}, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
	all.Wait()
}

// TestCompiledSchemasHaveBoundedRoom: however many tools with schemas that need compiling are called, what is kept of them stays
// within the room, calls get their answers, and schemas in use stay. Seen red with add appending only: 60 were kept.
func TestCompiledSchemasHaveBoundedRoom(t *testing.T) {
	room := schemas.limit
	schemas.limit = 2 << 20
	defer func() { schemas.limit = room }()
	texts := make([]string, 60)
	for i := range texts {
		texts[i] = `{"type":"object","properties":{"x":{"type":"string","anyOf":` + list(100, numbered(`{"minLength":%d}`)) + `}}}`
	}
	s, found := Compile(schemaTools(texts...), Options{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	busy, before := s.Order[0], (*schema)(nil)
	for i, tool := range s.Order {
		if tool.input.compiled.Load() != nil {
			t.Fatalf("%s is compiled before anybody calls it", tool.Name)
		}
		for _, called := range []*Tool{tool, busy} {
			if _, result, _ := called.Request(Call{Arguments: []byte(`{"x":1}`)}); !strings.Contains(string(result), "must be string") {
				t.Fatalf("%s: %s", called.Name, result)
			}
		}
		if now := busy.input.compiled.Load(); before != nil && now != before {
			t.Fatalf("a schema in use was compiled again after %d others", i)
		} else {
			before = now
		}
	}
	kept, bytes := 0, 0
	for _, tool := range s.Order {
		if x := tool.input.compiled.Load(); x != nil {
			kept, bytes = kept+1, bytes+x.size.memory()
		}
	}
	if bytes > schemas.limit || kept < 5 {
		t.Errorf("%d schemas of %d bytes are kept, in room for %d", kept, bytes, schemas.limit)
	}
}

// TestObjectsOfATool counts what a compiled tool holds: the garbage collector goes by objects. Seen red with compiled schemas
// kept, and with the forwarded headers made for each tool: 31.
func TestObjectsOfATool(t *testing.T) {
	const n, most = 500, 14
	def := lateTools(n)
	count := func() int {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int(m.HeapObjects)
	}
	before := count()
	s, _ := Compile(def, Options{ForwardHeaders: []string{"traceparent", "tracestate", "baggage"}})
	per := (count() - before) / n
	t.Logf("%d objects for each tool", per)
	if per > most {
		t.Errorf("a tool takes %d objects, want %d at most", per, most)
	}
	runtime.KeepAlive(s)
	runtime.KeepAlive(def)
}
