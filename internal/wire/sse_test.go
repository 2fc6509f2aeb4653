package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// flat is an Event as text, with "-" for what is absent.
type flat struct{ ID, Name, Data, Retry, Raw string }

func flatten(ev Event) flat {
	text := func(b []byte) string {
		if b == nil {
			return "-"
		}
		return string(b)
	}
	return flat{text(ev.ID), text(ev.Name), text(ev.Data), text(ev.Retry), string(ev.Raw)}
}

func readAll(t *testing.T, r io.Reader, max int) (out []flat, err error) {
	t.Helper()
	er := NewEventReader(r, max)
	for {
		ev, err := er.Next()
		if err != nil {
			return out, err
		}
		out = append(out, flatten(ev))
	}
}

func TestEventReader(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []flat
	}{
		{"one", "data: x\n\n", []flat{{"-", "-", "x", "-", "data: x\n\n"}}},
		{"all fields", "id: 7\nevent: message\nretry: 10\ndata: x\n\n", []flat{{"7", "message", "x", "10", "id: 7\nevent: message\nretry: 10\ndata: x\n\n"}}},
		{"CR LF", "id: 7\r\ndata: x\r\n\r\n", []flat{{"7", "-", "x", "-", "id: 7\r\ndata: x\r\n\r\n"}}},
		{"CR", "id: 7\rdata: x\r\rdata: y\r\r", []flat{{"7", "-", "x", "-", "id: 7\rdata: x\r\r"}, {"-", "-", "y", "-", "data: y\r\r"}}},
		{"many lines of data", "data: a\ndata\ndata:  b\n\n", []flat{{"-", "-", "a\n\n b", "-", "data: a\ndata\ndata:  b\n\n"}}},
		{"byte order mark", "\ufeffdata: x\n\n", []flat{{"-", "-", "x", "-", "\ufeffdata: x\n\n"}}},
		{"byte order mark later is part of the name", "\n\ufeffdata: x\n\n", []flat{{"-", "-", "-", "-", "\n"}, {"-", "-", "-", "-", "\ufeffdata: x\n\n"}}},
		{"comments", ": hello\n\n:\ndata: x\n\n", []flat{{"-", "-", "-", "-", ": hello\n\n"}, {"-", "-", "x", "-", ":\ndata: x\n\n"}}},
		{"no space, two spaces, no colon", "data:x\ndata:  y\ndata\nfoo\n\n", []flat{{"-", "-", "x\n y\n", "-", "data:x\ndata:  y\ndata\nfoo\n\n"}}},
		{"id with NUL", "id: a\x00b\ndata: x\n\n", []flat{{"-", "-", "x", "-", "id: a\x00b\ndata: x\n\n"}}},
		{"retry that is no number", "retry: 1s\ndata: x\n\n", []flat{{"-", "-", "x", "-", "retry: 1s\ndata: x\n\n"}}},
		{"names are exact", "Data: x\ndata : y\n\n", []flat{{"-", "-", "-", "-", "Data: x\ndata : y\n\n"}}},
		{"empty id and data", "id\ndata:\n\n", []flat{{"", "-", "", "-", "id\ndata:\n\n"}}},
		{"unfinished is dropped", "data: x\n\ndata: y\n", []flat{{"-", "-", "x", "-", "data: x\n\n"}}},
		{"only a mark", "\xef\xbb", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in)),
				"with EOF": iotest.DataErrReader(strings.NewReader(c.in)),
			} {
				got, err := readAll(t, r, 1<<10)
				if err != io.EOF {
					t.Fatal(err)
				}
				want := c.want
				if name == "bytes" { // a line feed late behind CR begins the next Raw
					for i := range got {
						got[i].Raw = strings.TrimPrefix(got[i].Raw, "\n")
					}
					want = nil
					for _, w := range c.want {
						if strings.HasSuffix(w.Raw, "\r\n") {
							w.Raw = strings.TrimSuffix(w.Raw, "\n")
						}
						w.Raw = strings.TrimPrefix(w.Raw, "\n")
						want = append(want, w)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatal(name, diff)
				}
			}
		})
	}
}

// pipe hands out one piece per Read, and fails if the reader asks for more than it needed.
type pipe struct {
	pieces []string
	t      *testing.T
}

func (p *pipe) Read(b []byte) (int, error) {
	if len(p.pieces) == 0 {
		p.t.Fatal("Next waits for more than the event")
	}
	n := copy(b, p.pieces[0])
	p.pieces = p.pieces[1:]
	return n, nil
}

func TestEventComesAsSoonAsItEnds(t *testing.T) {
	for _, in := range []string{"data: x\n\n", "data: x\r\r", "data: x\r\n\r", "data: x\r\n\r\n", ": ping\n\n", "\n", "\r"} {
		r := NewEventReader(&pipe{pieces: []string{in}, t: t}, 100)
		ev, err := r.Next()
		if err != nil || string(ev.Raw) != in {
			t.Errorf("%q: got %q, %v", in, ev.Raw, err)
		}
	}
}

func TestEventLimit(t *testing.T) {
	fits := "data: " + strings.Repeat("x", 100-8) + "\n\n"
	for name, c := range map[string]struct {
		in   string
		want int
		err  error
	}{
		"just fits":                 {fits + fits, 2, io.EOF},
		"one more":                  {fits + "x" + fits, 1, ErrEventTooLarge},
		"endless line":              {fits + strings.Repeat("x", 1<<20), 1, ErrEventTooLarge},
		"endless lines":             {strings.Repeat("data: x\n", 1<<17), 0, ErrEventTooLarge},
		"endless comments":          {strings.Repeat(":\n", 1<<17), 0, ErrEventTooLarge},
		"endless comments, CR only": {strings.Repeat(":\r", 1<<17), 0, ErrEventTooLarge},
	} {
		r := NewEventReader(strings.NewReader(c.in), 100)
		n := 0
		var err error
		for {
			if _, err = r.Next(); err != nil {
				break
			}
			n++
		}
		if n != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %d events, %v", name, n, err)
		}
		if cap(r.buf) > 100+eventRoom {
			t.Errorf("%s: holds %d bytes", name, cap(r.buf))
		}
		if _, again := r.Next(); again != err {
			t.Errorf("%s: then %v", name, again)
		}
	}
}

func TestEventReaderGivesRoomBack(t *testing.T) {
	large := AppendEvent(nil, "", "", bytes.Repeat([]byte("x\n"), 1<<20))
	p := &pipe{t: t, pieces: []string{"data: y\n\n"}}
	r := NewEventReader(io.MultiReader(bytes.NewReader(large), p), 32<<20)
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.buf)+cap(r.data) > eventRoom {
		t.Errorf("an idle stream holds %d bytes", cap(r.buf)+cap(r.data))
	}
}

func TestReaderErrorAfterLastEvent(t *testing.T) {
	broken := errors.New("connection reset")
	got, err := readAll(t, io.MultiReader(strings.NewReader("data: x\n\ndata: y"), iotest.ErrReader(broken)), 100)
	if len(got) != 1 || err != broken {
		t.Fatalf("got %v, %v", got, err)
	}
	if _, err := readAll(t, stuck{}, 100); err != io.ErrNoProgress {
		t.Fatalf("a reader that gives nothing: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestAppendEventReadsBack(t *testing.T) {
	for _, c := range []struct{ id, name, data, want string }{
		{"1", "message", `{"a":1}`, "id: 1\nevent: message\ndata: {\"a\":1}\n\n"},
		{"", "", "a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n\n"},
		{"", "", "a\n", "data: a\ndata: \n\n"},
		{"a\nb\x00\r", "x\ndata: forged", "y", "id: ab\nevent: xdata: forged\ndata: y\n\n"},
		{"1", "", "", "id: 1\ndata: \n\n"},
	} {
		if got := string(AppendEvent(nil, c.id, c.name, []byte(c.data))); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := string(AppendEvent(nil, "1", "", nil)); got != "id: 1\n\n" {
		t.Errorf("without data: %q", got)
	}
	if got := string(AppendComment(nil, "keep\nalive")); got != ": keepalive\n\n" {
		t.Errorf("comment: %q", got)
	}
}

func TestA18_EventsAreFiltered(t *testing.T) {
	r := Rewriter{See: seeNoD}
	in := ": c\r\n\r\n" +
		"id: 1\r\nevent: message\r\ndata: {\"result\":{\"tools\":[{\"name\":\"a\"},\r\ndata: {\"name\":\"d\"}]}}\r\n: note\r\n\r\n" +
		"data: {\"result\":{\"tools\":[{\"name\":\"a\"}]}}\n\n" +
		"\n" +
		"data:\n\n" +
		"id: 3\rdata: {\"result\":{\"tools\":[{\"name\":\"d\"}]}}\r\r"
	want := ": c\r\n\r\n" +
		"id: 1\r\nevent: message\r\ndata: {\"result\":{\"tools\":[{\"name\":\"a\"}]}}\r\n: note\r\n\r\n" +
		"data: {\"result\":{\"tools\":[{\"name\":\"a\"}]}}\n\n" +
		"\n" +
		"data:\n\n" +
		"id: 3\rdata: {\"result\":{\"tools\":[]}}\r\r"
	er := NewEventReader(strings.NewReader(in), 1<<10)
	var out, room []byte
	for {
		ev, err := er.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if out, room, err = r.AppendTo(out, ev, room); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Fatal(diff)
	}
	ev := Event{Data: []byte(`{"Result":{}}`), Raw: []byte("data: {\"Result\":{}}\n\n")}
	if out, _, err := r.AppendTo(nil, ev, nil); err == nil || len(out) != 0 {
		t.Fatalf("an ambiguous event gave %q, %v", out, err)
	}
}

// naive reads a stream as the standard says it, all at once: normalize line ends, split, go through the lines.
func naive(in []byte) (out []flat) {
	s := strings.TrimPrefix(string(in), "\ufeff")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(s, "\n")
	ev := flat{"-", "-", "-", "-", ""}
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			out = append(out, ev)
			ev = flat{"-", "-", "-", "-", ""}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "data" && ev.Data == "-":
			ev.Data = value
		case name == "data":
			ev.Data += "\n" + value
		case name == "event":
			ev.Name = value
		case name == "id" && !strings.Contains(value, "\x00"):
			ev.ID = value
		case name == "retry" && value != "" && strings.Trim(value, "0123456789") == "":
			ev.Retry = value
		}
	}
	return out
}

// chunks reads in pieces of sizes that the fuzzer chooses.
type chunks struct {
	b     []byte
	sizes []byte
	n     int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	size := len(c.b)
	if len(c.sizes) > 0 {
		size = 1 + int(c.sizes[c.n%len(c.sizes)])
		c.n++
	}
	n := copy(p, c.b[:min(size, len(c.b))])
	c.b = c.b[n:]
	return n, nil
}

func FuzzEventReader(f *testing.F) {
	for _, s := range []string{
		"data: x\n\n", "\ufeffid: 1\r\nevent: m\rdata: a\ndata: b\r\n\r\n", "data: x\r\r\n\n", ":c\n\nretry: 5\ndata\n\n", "\xef\xbb\n\n", "data:a\x00\r\r\r",
		strings.Repeat("data: 0123456789\r\n", 300) + "\r\n" + strings.Repeat(":\r", 3000) + "\r",
	} {
		f.Add([]byte(s), []byte{0})
		f.Add([]byte(s), []byte{3, 200})
		f.Add([]byte(s), []byte{})
	}
	f.Fuzz(func(t *testing.T, in, sizes []byte) {
		want := naive(in)
		got, err := readAll(t, &chunks{b: in, sizes: sizes}, len(in))
		if err != io.EOF {
			t.Fatal(err)
		}
		var raw strings.Builder
		for i := range got {
			raw.WriteString(got[i].Raw)
			got[i].Raw = ""
		}
		if !bytes.HasPrefix(in, []byte(raw.String())) {
			t.Fatalf("raw %q is not how %q begins", raw.String(), in)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q\n%s", in, diff)
		}
		for _, w := range want { // what we write, we read back
			if w.Data == "-" || strings.ContainsAny(w.ID+w.Name, "\x00") {
				continue
			}
			back := naive(AppendEvent(nil, strings.Trim(w.ID, "-"), w.Name, []byte(w.Data)))
			if len(back) != 1 || back[0].Data != w.Data {
				t.Fatalf("%q came back as %q", w.Data, back)
			}
		}
	})
}
