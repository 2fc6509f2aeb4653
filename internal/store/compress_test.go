package store

import (
	"strings"
	"testing"
)

// TestStoreCompressesDefinitions: definitions of services are most of a store. Seen red without compress.
func TestStoreCompressesDefinitions(t *testing.T) {
	s := open(t, t.TempDir())
	content := strings.Repeat(`{"name":"tool","description":"does what it does"},`, 100)
	for _, sealed := range []bool{false, true} {
		r := record("tools.json", content)
		r.Sealed = sealed
		value, err := s.encode(documentSlot(r.Group, r.DataID), r)
		if err != nil {
			t.Fatal(err)
		}
		if len(value) > len(content)/4 {
			t.Errorf("%d bytes are kept in %d (sealed: %t)", len(content), len(value), sealed)
		}
	}
}

func TestDecompressRefusesLengthsThatCannotBe(t *testing.T) {
	packed := compress([]byte(strings.Repeat("a", 1_000_000)))
	for name, size := range map[string]int{"negative": -1, "longer": 1_000_001, "absurd": 1 << 40} {
		if b, err := decompress(packed, size); err == nil {
			t.Errorf("%s: %d bytes of %d", name, len(b), size)
		}
	}
	if b, err := decompress(packed, 1_000_000); err != nil || string(b[:3]) != "aaa" {
		t.Errorf("the right length: %v", err)
	}
	if len(packed)*maxRatio < 1_000_000 {
		t.Errorf("flate made %d bytes of 1,000,000: maxRatio is too low", len(packed))
	}
}

func BenchmarkLoad(b *testing.B) {
	s, err := Open(Options{Dir: b.TempDir(), Identity: testIdentity})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	content := strings.Repeat(`{"name":"tool","description":"does what it does"},`, 100)
	for i := range 1000 {
		r := record(strings.Repeat("x", 1+i%200)+string(rune('a'+i/200)), content)
		r.Sealed = true
		s.Put(r)
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Load(func(Record) {})
	}
}
