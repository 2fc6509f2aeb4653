package relay

import (
	"io"
	"strings"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/wire"
)

func TestFramingKnowsWhereEventsEnd(t *testing.T) {
	for _, c := range []struct {
		parts   []string
		between []bool
		ids     bool
	}{
		{[]string{""}, []bool{true}, false},
		{[]string{"data: x\n", "\n"}, []bool{false, true}, false},
		{[]string{"data: x\r\n\r\n"}, []bool{true}, false},
		{[]string{"data: x\r\n\r", "\n"}, []bool{true, true}, false},
		{[]string{"data: x\r", "\n", "\r\n"}, []bool{false, false, true}, false},
		{[]string{"data: x\r\rdata"}, []bool{false}, false},
		{[]string{": c\n", "\n"}, []bool{false, true}, false},
		{[]string{"i", "d: 5\ndata: x\n\n"}, []bool{false, true}, true},
		{[]string{"data: id: 5\n\n"}, []bool{true}, false},
	} {
		var f framing
		for i, p := range c.parts {
			f.feed([]byte(p))
			if got := f.between(); got != c.between[i] {
				t.Errorf("%q part %d: between is %v", c.parts, i, got)
			}
		}
		if f.ids != c.ids {
			t.Errorf("%q: ids is %v", c.parts, f.ids)
		}
	}
}

// FuzzFraming holds framing against the reader of events: where it says that the stream is between events, no event is
// half read, however the stream was cut into pieces.
func FuzzFraming(f *testing.F) {
	for _, s := range []string{"data: x\n\n", ": c\r\n\r\nid: 1\r\rdata", "\n\n\r\n\r", "id\n\nevent: a\ndata: b\n"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		if strings.HasPrefix(s, "\ufeff") {
			t.Skip("the reader drops a byte order mark")
		}
		var fr framing
		if n := len(s); n > 0 {
			cut = (cut%n + n) % n
			fr.feed([]byte(s[:cut]))
			fr.feed([]byte(s[cut:]))
		}
		r := wire.NewEventReader(strings.NewReader(s), 1<<20)
		read := 0
		for {
			ev, err := r.Next()
			if err != nil {
				if err != io.EOF {
					t.Skip(err)
				}
				break
			}
			read += len(ev.Raw)
		}
		rest := strings.TrimPrefix(s[read:], "\n") // a late line feed of a CR LF belongs to the line before
		if read == 0 {
			rest = s
		}
		if fr.between() != (rest == "") {
			t.Errorf("%q: between is %v, but %q is left", s, fr.between(), rest)
		}
	})
}
