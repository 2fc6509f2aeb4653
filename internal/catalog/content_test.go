package catalog

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestContentIsGivenBack was seen red with the size of compressed content taken from the compressed bytes.
func TestContentIsGivenBack(t *testing.T) {
	random := make([]byte, 8<<10)
	for i, x := 0, uint32(1); i < len(random); i++ {
		x = x*1664525 + 1013904223
		random[i] = byte(x >> 24)
	}
	for name, b := range map[string][]byte{
		"none": nil, "empty": {}, "small": []byte("a: 1\n"), "large": []byte(strings.Repeat("name: value\n", 2000)), "incompressible": random,
	} {
		t.Run(name, func(t *testing.T) {
			c := pack(b)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if got := c.open(); !bytes.Equal(got, b) || (got == nil) != (b == nil) {
						t.Errorf("%d bytes came back as %d", len(b), len(got))
					}
				})
			}
			all.Wait()
			if !c.equal(b) || c.equal(append(bytes.Clone(b), 'x')) || len(b) > 0 && c.equal(append([]byte{b[0] + 1}, b[1:]...)) {
				t.Error("does not tell its own content from another")
			}
			if name == "large" && len(c.bytes) > len(b)/10 {
				t.Errorf("%d bytes are kept of %d", len(c.bytes), len(b))
			}
		})
	}
}

// TestContentsShareFewPieces was seen red with each content in a piece of its own.
func TestContentsShareFewPieces(t *testing.T) {
	large := bytes.Repeat([]byte("x"), pieceSize+1)
	given := [][]byte{[]byte("a: 1\n"), nil, {}, []byte("b: 2\n"), large, []byte("c: 3\n")}
	var all []*content
	for _, b := range given {
		all = append(all, &content{bytes: b})
	}
	for i := range 10_000 {
		b := fmt.Appendf(nil, "number: %d\n", i)
		given, all = append(given, b), append(all, &content{bytes: b})
	}
	pieces := testing.AllocsPerRun(1, func() { join(all) })
	if most := 10_000*16/pieceSize + 4; pieces > float64(most) {
		t.Errorf("%v pieces for 10,000 contents, want %d at most", pieces, most)
	}
	for i, b := range given {
		got := all[i].bytes
		if !bytes.Equal(got, b) || (got == nil) != (b == nil) {
			t.Fatalf("content %d came out as %.20q, want %.20q", i, got, b)
		}
		if cap(got) > len(got) && len(got) < pieceSize {
			t.Fatalf("appending to content %d would write into the next one", i)
		}
	}
}
