package session

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	secretA = bytes.Repeat([]byte("a"), 32)
	secretB = bytes.Repeat([]byte("b"), 32)
	issued  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	sample  = Session{
		Backend: "7d0e-5b", Instance: "10.0.0.7:8080", Service: "petstore", Version: "1.0.0", Consumer: "alice",
		Protocol: "2025-11-25", Issued: issued,
	}
)

func sealer(t testing.TB, secrets ...[]byte) *Sealer {
	t.Helper()
	s, err := NewSealer(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, s *Sealer, v Session) string {
	t.Helper()
	id, err := s.Seal(v)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSealedSessionOpens(t *testing.T) {
	for name, v := range map[string]Session{
		"full":                 sample,
		"converted service":    {Service: "petstore", Consumer: "alice", Issued: issued},
		"nobody":               {Service: "petstore", Issued: issued},
		"empty":                {Issued: time.Unix(0, 0).UTC()},
		"long backend id":      {Backend: strings.Repeat("x", MaxBackend), Service: strings.Repeat("s", 128), Version: strings.Repeat("v", 128), Consumer: strings.Repeat("c", 128), Instance: "[2001:db8::1]:65535", Protocol: "2025-11-25", Issued: issued},
		"odd bytes in an id":   {Backend: "a\x00b\xff|.:", Service: "s", Issued: issued},
		"before 1970, somehow": {Issued: time.Unix(-5, 0).UTC()},
	} {
		s := sealer(t, secretA)
		id := seal(t, s, v)
		got, err := s.Open(id)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(v, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(id) > MaxID {
			t.Errorf("%s: %d characters", name, len(id))
		}
		for _, c := range []byte(id) { // MCP: visible ASCII only
			if c < 0x21 || c > 0x7e {
				t.Errorf("%s: %q in the id", name, c)
			}
		}
	}
}

func TestTooLongBackendID(t *testing.T) {
	_, err := sealer(t, secretA).Seal(Session{Backend: strings.Repeat("x", MaxID)})
	if !errors.Is(err, ErrTooLong) {
		t.Fatalf("got %v", err)
	}
}

func TestIDsTellNothing(t *testing.T) {
	s := sealer(t, secretA)
	a, b := seal(t, s, sample), seal(t, s, sample)
	if a == b {
		t.Error("the same session gives the same id twice")
	}
	raw, _ := base64.RawURLEncoding.DecodeString(a)
	for _, text := range []string{"petstore", "alice", "7d0e", "10.0.0.7"} {
		if bytes.Contains(raw, []byte(text)) {
			t.Errorf("%q can be read in the id", text)
		}
	}
}

// Each character of an id is altered to each other one. Seen to fail with a decoder that is not strict (the last
// character's spare bits) and with one that skips line ends.
func TestA23_AlteredIDs(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n\r\x00é"
	s := sealer(t, secretA, secretB)
	for _, backend := range []string{"", "b", "bb"} { // all remainders of base64
		v := sample
		v.Backend = backend
		id := seal(t, s, v)
		for i := range id {
			for _, c := range alphabet {
				if altered := id[:i] + string(c) + id[i+1:]; altered != id {
					unknown(t, s, altered)
				}
			}
			unknown(t, s, id[:i])
			unknown(t, s, id[i:]+"A")
			unknown(t, s, id[:i]+"\n"+id[i:])
		}
		for _, more := range []string{"A", "=", "==", "\n", " "} {
			unknown(t, s, id+more)
		}
		unknown(t, s, id+id)
	}
	unknown(t, s, "")
	unknown(t, s, strings.Repeat("A", MaxID))
	unknown(t, s, strings.Repeat("A", 1<<20))
}

func unknown(t *testing.T, s *Sealer, id string) {
	t.Helper()
	if v, err := s.Open(id); !errors.Is(err, ErrUnknown) || v != (Session{}) {
		t.Fatalf("%.80q opens: %+v, %v", id, v, err)
	}
}

func TestA23_ForeignSecret(t *testing.T) {
	id := seal(t, sealer(t, secretA), sample)
	unknown(t, sealer(t, secretB), id)
	unknown(t, sealer(t), id)
	unknown(t, sealer(t), seal(t, sealer(t), sample))
	if _, err := sealer(t, secretB, secretA).Open(id); err != nil {
		t.Errorf("a secret in another place of the list: %v", err)
	}
}

func TestA23_OtherKeyServiceOrVersion(t *testing.T) {
	s := sealer(t, secretA)
	v, err := s.Open(seal(t, s, sample))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		service, version, consumer string
		want                       bool
	}{
		"the same":          {"petstore", "1.0.0", "alice", true},
		"another consumer":  {"petstore", "1.0.0", "bob", false},
		"nobody":            {"petstore", "1.0.0", "", false},
		"another service":   {"petstores", "1.0.0", "alice", false},
		"another version":   {"petstore", "1.0.1", "alice", false},
		"no version":        {"petstore", "", "alice", false},
		"shifted borders":   {"petstore1", ".0.0", "alice", false},
		"case":              {"petstore", "1.0.0", "Alice", false},
		"fields exchanged":  {"alice", "1.0.0", "petstore", false},
		"service and a dot": {"petstore.", "1.0.0", "alice", false},
	} {
		if got := v.For(c.service, c.version, c.consumer); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRotation(t *testing.T) {
	old := sealer(t, secretA)
	both := sealer(t, secretA, secretB)   // the new secret is on all replicas, none seals with it
	turned := sealer(t, secretB, secretA) // now it seals
	after := sealer(t, secretB)           // the old one is gone
	a, b := seal(t, both, sample), seal(t, turned, sample)
	for name, c := range map[string]struct {
		s    *Sealer
		id   string
		want bool
	}{
		"old id, old replica":        {old, a, true},
		"old id, turned replica":     {turned, a, true},
		"new id, replica not turned": {both, b, true},
		"new id, after":              {after, b, true},
		"old id, after":              {after, a, false},
		"new id, old replica":        {old, b, false},
	} {
		if _, err := c.s.Open(c.id); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two secrets whose key ids are the same must both open: the id only saves work.
func TestSameKeyID(t *testing.T) {
	first := sealer(t, secretA)
	for n := 0; ; n++ {
		secret := append(bytes.Repeat([]byte("c"), 30), byte(n), byte(n>>8))
		other := sealer(t, secret)
		if other.first.id != first.first.id {
			continue
		}
		s := sealer(t, secretA, secret)
		for _, id := range []string{seal(t, first, sample), seal(t, other, sample)} {
			if _, err := s.Open(id); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
}

func TestSecretsAreChecked(t *testing.T) {
	_, err := NewSealer([][]byte{secretA, []byte("short")})
	const want = "read session.secrets[1]: 5 bytes, at least 16 are needed (make one with: openssl rand -base64 32)"
	if err == nil || err.Error() != want {
		t.Fatalf("got %v", err)
	}
}

func TestOtherLayoutsAreRefused(t *testing.T) {
	good := sample.append(nil)
	for n := range good {
		if v, err := parse(good[:n]); err == nil {
			t.Errorf("cut to %d bytes: %+v", n, v)
		}
	}
	for name, b := range map[string][]byte{
		"more behind it": append(bytes.Clone(good), 0),
		"another layout": append([]byte{layout + 1}, good[1:]...),
		"endless length": {layout, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		if v, err := parse(b); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample.append(nil))
	f.Add([]byte{layout, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err != nil {
			return
		}
		back, err := parse(v.append(nil))
		if err != nil || back != v {
			t.Fatalf("%+v came back as %+v, %v", v, back, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	s := sealer(f, secretA)
	f.Add("AAAA")
	f.Add(seal(f, sealer(f, secretB), sample))
	f.Fuzz(func(t *testing.T, id string) {
		if v, err := s.Open(id); err != ErrUnknown || v != (Session{}) {
			t.Fatalf("%q opens: %+v, %v", id, v, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	s := sealer(b, secretA)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(sample); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := sealer(b, secretA, secretB)
	id := seal(b, s, sample)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(id); err != nil {
			b.Fatal(err)
		}
	}
}
