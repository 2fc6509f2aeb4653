//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

// micro measures the pure steps, in this process.
func (b *bench) micro() error {
	b.decision()
	small := []byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_pet","arguments":{"petId":42}}}`)
	var dense bytes.Buffer
	dense.WriteString(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_pet","arguments":{"rows":[0`)
	for range 2000 {
		dense.WriteString(`,{"id":1234,"ok":true,"name":"pet","tags":["a","b"],"price":12.5,"next":null}`)
	}
	dense.WriteString(`]}}}`)
	long := []byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_pet","arguments":{"text":"` +
		strings.Repeat("the quick brown fox jumps over the lazy dog. ", 1<<20/45) + `"}}}`)
	var e wire.Envelope
	scan := func(body []byte) (perCall []float64) {
		return repeat(b.rounds, func(n int) {
			for range n {
				if err := wire.Scan(body, &e); err != nil {
					panic(err)
				}
			}
		})
	}
	speed := func(body []byte) (out []float64) {
		for _, ns := range scan(body) {
			out = append(out, float64(len(body))/ns*1e3)
		}
		return out
	}
	r := b.result
	r.measure(measure{Name: "envelope scan of a small call", Unit: " ns", Goal: 300, AtMost: true}, scan(small)...)
	r.measure(measure{Name: "envelope scan, dense JSON", Unit: " MB/s", Goal: 400}, speed(dense.Bytes())...)
	r.measure(measure{Name: "envelope scan, long strings", Unit: " MB/s", Goal: 2000}, speed(long)...)
	return nil
}

// decision goes from a key to whether a tool may be called, with many consumers.
func (b *bench) decision() {
	n := b.consumers
	type holder struct {
		consumer *registry.Consumer
		key      *registry.Key
	}
	holders, keys := make(map[[32]byte]holder, n), make([][]byte, n)
	grants := &registry.Grants{Service: "s", Auth: registry.AuthRequired}
	for i := range n {
		keys[i] = []byte(key(uint64(i)))
		c := &registry.Consumer{Name: fmt.Sprintf("bench%d", i), Enabled: true}
		k := &registry.Key{ID: "k1", Digest: sha256.Sum256(keys[i])}
		holders[k.Digest] = holder{c, k}
		if i%2 == 0 {
			grants.Consumers = append(grants.Consumers, registry.Grant{Consumer: c.Name})
		} else {
			grants.Tools = append(grants.Tools, registry.ToolGrants{Pattern: "echo", Grants: []registry.Grant{{Consumer: c.Name}}})
		}
	}
	table, tool, now := access.Compile(grants, false), []byte("echo"), time.Now().UnixNano()
	decide := func(i int) {
		h := holders[sha256.Sum256(keys[i*7919%n])]
		if access.KeyState(h.consumer, h.key, now) != access.KeyOK || !table.Service(h.consumer, now).Allowed || !table.Tool(h.consumer, tool, now).Allowed {
			panic("denied")
		}
	}
	b.result.measure(measure{Name: "key to decision", Unit: " ns", Goal: 500, AtMost: true}, repeat(b.rounds, func(n int) {
		for i := range n {
			decide(i)
		}
	})...)
	b.result.measure(measure{Name: "key to decision, allocations", AtMost: true, Goal: .01}, testing.AllocsPerRun(1000, func() { decide(7) }))
}

// repeat gives the nanoseconds of one f, once per round: CPU time of this thread, so that what else runs does not count.
func repeat(rounds int, f func(n int)) []float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n := 1
	for ; ; n *= 2 {
		began := threadTime()
		if f(n); threadTime()-began > 10*time.Millisecond {
			break
		}
	}
	var out []float64
	for range rounds {
		began := threadTime()
		f(n)
		out = append(out, float64(threadTime()-began)/float64(n))
	}
	return out
}

func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
