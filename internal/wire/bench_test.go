package wire

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

var (
	smallCall  = []byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_pet","arguments":{"petId":42}}}`)
	modernCall = []byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_pet","arguments":{"petId":42},"_meta":{"progressToken":1,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`)
)

func denseCall() []byte {
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_pet","arguments":{"rows":[`)
	for i := range 2000 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"id":1234,"ok":true,"name":"pet","tags":["a","b"],"price":12.5,"next":null}`)
	}
	b.WriteString(`]}}}`)
	return b.Bytes()
}

func longCall(text string) []byte {
	return []byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_pet","arguments":{"text":"` +
		strings.Repeat(text, 1<<20/len(text)) + `"}}}`)
}

func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"small", smallCall},
		{"modern", modernCall},
		{"dense", denseCall()},
		{"longASCII", longCall("the quick brown fox jumps over the lazy dog. ")},
		{"longCJK", longCall("宠物商店里有一只猫和一只狗")},
		{"longEscaped", longCall(`line of text\n and \"another\" one `)},
	} {
		b.Run(c.name, func(b *testing.B) {
			var e Envelope
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Scan(c.body, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func toolList(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":1,"result":{"tools":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"name":"tool_`)
		b.WriteByte(byte('a' + i%26))
		b.WriteString(`","description":"Does what it says","inputSchema":{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}}`)
	}
	b.WriteString(`],"nextCursor":"x"}}`)
	return b.Bytes()
}

func BenchmarkFilterTools(b *testing.B) {
	list := toolList(50)
	see := func(name []byte) bool { return name[len(name)-1] < 'd' }
	var room []byte
	b.SetBytes(int64(len(list)))
	b.ReportAllocs()
	for b.Loop() {
		out, _, err := FilterTools(room, list, see)
		if err != nil {
			b.Fatal(err)
		}
		room = out
	}
}

func BenchmarkEventReader(b *testing.B) {
	one := AppendEvent(nil, "17", "message", smallCall)
	stream := bytes.Repeat(one, 1000)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewEventReader(bytes.NewReader(stream), 1<<20)
		n := 0
		for {
			_, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1000 {
			b.Fatal(n)
		}
	}
}

// Assertion of the hot path: a small call is read without allocating, known method, escaped name and all.
func TestScanDoesNotAllocate(t *testing.T) {
	bodies := [][]byte{smallCall, modernCall, []byte(strings.Replace(string(smallCall), "get_pet", `get\u005fpet`, 1))}
	for _, body := range bodies {
		var e Envelope
		n := testing.AllocsPerRun(100, func() {
			if err := Scan(body, &e); err != nil {
				t.Fatal(err)
			}
			if string(e.Name) != "get_pet" || e.Method != MethodToolsCall || string(e.ID) != "7" {
				t.Fatalf("got %q %q %q", e.Method, e.Name, e.ID)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", body, n)
		}
	}
}

// A relayed stream costs no allocation per event once its buffer is there, nor does an answer that needs no change.
func TestEventsDoNotAllocate(t *testing.T) {
	stream := bytes.Repeat(AppendEvent(nil, "17", "message", smallCall), 2000)
	r := NewEventReader(bytes.NewReader(stream), 1<<20)
	out := make([]byte, 0, 1<<10)
	var rw Rewriter
	n := testing.AllocsPerRun(1000, func() {
		ev, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if out, _, err = rw.AppendTo(out[:0], ev, nil); err != nil || len(out) != len(ev.Raw) {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per event", n)
	}
}
