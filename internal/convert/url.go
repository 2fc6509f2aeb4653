package convert

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// piece is a part of a URL: literal text, or an argument.
type piece struct {
	lit   string
	arg   int  // index into the tool's arguments, or -1
	brace bool // written {name}: then it must be there and hold something
}

// mark stands for an argument inside the text of a URL while templates are rendered: NUL, index, kind, NUL. No argument
// can forge one, since the template escapes NUL.
func mark(arg int, brace bool) string {
	kind := "a"
	if brace {
		kind = "b"
	}
	return "\x00" + strconv.Itoa(arg) + kind + "\x00"
}

// pieces cuts text at its marks.
func pieces(text string) []piece {
	var out []piece
	for text != "" {
		i := strings.IndexByte(text, 0)
		if i < 0 {
			return append(out, piece{lit: text, arg: -1})
		}
		if i > 0 {
			out = append(out, piece{lit: text[:i], arg: -1})
		}
		text = text[i+1:]
		end := strings.IndexByte(text, 0)
		if end < 2 {
			return out
		}
		n, _ := strconv.Atoi(text[:end-1])
		out = append(out, piece{arg: n, brace: text[end-1] == 'b'})
		text = text[end+1:]
	}
	return out
}

// target is a request's URL while it is put together.
type target struct {
	origin string // scheme and host, empty where the URL is relative
	host   string
	path   []byte
	query  []byte

	segment int // where the path's current segment begins
	holds   int // the argument that this segment holds, and 1; 0: none does
}

// Places in a URL.
const (
	inOrigin = iota
	inPath
	inQuery
	inFragment
)

var (
	errOrigin = errors.New("an argument cannot stand in the scheme, host or port of a URL")
	errStart  = errors.New("an argument cannot be the beginning of a URL")

	errNoScheme = errors.New("the URL names a host without http:// or https:// before it")
)

// assemble puts a URL together, in the memory of path and query: each argument is escaped for the place it stands in. An
// argument's error is an *argumentError; any other is the author's.
func (t *Tool) assemble(path, query []byte, parts []piece, vals []value) (target, error) {
	out := target{path: path[:0], query: query[:0]}
	if len(parts) == 0 {
		return out, errors.New("url is empty")
	}
	first := parts[0]
	if first.arg >= 0 && !t.args[first.arg].multi {
		return out, errStart
	}
	place, rest := inPath, first.lit
	if scheme, after, ok := strings.Cut(rest, "://"); ok && !strings.ContainsAny(scheme, "/?#") {
		end := strings.IndexAny(after, "/?#")
		if end < 0 {
			if len(parts) > 1 && (parts[1].arg < 0 || !t.args[parts[1].arg].multi) {
				return out, errOrigin
			}
			end = len(after)
		}
		if err := out.setOrigin(strings.ToLower(scheme), after[:end]); err != nil {
			return out, err
		}
		rest = after[end:]
	} else if strings.HasPrefix(rest, "//") {
		return out, errors.New("url begins with //, which would name a host: write its scheme")
	}
	if !strings.HasPrefix(rest, "/") {
		if out.origin == "" {
			if registry.NoScheme(rest) != "" {
				return out, errNoScheme // what it was rendered to may hold a credential
			}
		}
		out.path, out.segment = append(out.path, '/'), 1
	}
	omitted := false // the pair that stood directly before
	for i, p := range parts {
		if p.arg < 0 {
			if i > 0 {
				rest = p.lit
			}
			if omitted && len(out.query) == 0 {
				rest = strings.TrimPrefix(rest, "&")
			}
			if place == inPath {
				if err := out.endSegment(t, rest); err != nil {
					return out, err
				}
			}
			place = out.literal(rest, place)
			omitted = false
			continue
		}
		if omitted = place == inQuery && !vals[p.arg].sent() && endsPair(parts[i+1:]) && out.omitPair(); omitted {
			continue
		}
		if err := out.argument(t, p, vals[p.arg], place); err != nil {
			return out, err
		}
	}
	if place == inPath {
		return out, out.endSegment(t, "/")
	}
	return out, nil
}

// endSegment looks at the path segment that an argument is part of, where the author's text that comes next ends it: it
// must not be a dot segment.
func (o *target) endSegment(t *Tool, next string) error {
	if o.holds == 0 {
		return nil
	}
	end := strings.IndexAny(next, "/?#")
	if end < 0 {
		return nil
	}
	segment := o.path[o.segment:]
	if end > 0 {
		segment = appendLiteral(segment[:len(segment):len(segment)], next[:end])
	}
	if template.DotSegment(segment) {
		return &argumentError{t.args[o.holds-1].name, errSegments.Error()}
	}
	return nil
}

func (o *target) setOrigin(scheme, host string) error {
	if scheme != "http" && scheme != "https" {
		return fmt.Errorf("url has the scheme %q: only http and https can be called", scheme)
	}
	if strings.Contains(host, "@") {
		return errors.New("url holds a user name or password: use securitySchemes")
	}
	u, err := url.Parse(scheme + "://" + host)
	if err != nil || u.Hostname() == "" || strings.ContainsAny(host, " \\%") {
		return errors.New("url has no valid host")
	}
	o.origin, o.host = scheme+"://"+host, host
	return nil
}

// literal appends the author's own text and follows it to the place it ends in.
func (o *target) literal(s string, place int) int {
	if place == inPath {
		end := strings.IndexAny(s, "?#")
		if end < 0 {
			o.path = appendLiteral(o.path, s)
			if slash := strings.LastIndexByte(s, '/'); slash >= 0 {
				o.segment, o.holds = bytes.LastIndexByte(o.path, '/')+1, 0
			}
			return inPath
		}
		o.path = appendLiteral(o.path, s[:end])
		place, s = inQuery, s[end:]
		if s[0] == '?' {
			s = s[1:]
		}
	}
	if place == inQuery {
		query, _, fragment := strings.Cut(s, "#")
		o.query = appendLiteral(o.query, query)
		if fragment {
			return inFragment // never sent
		}
	}
	return place
}

// omitPair takes back the name of a pair of the query that is to have no value; false if some of a value is there already. A
// parameter that the caller left out is not sent, wherever its author wrote it: "page=" is not what the backend assumes
// where there is no page.
func (o *target) omitPair() bool {
	start := bytes.LastIndexByte(o.query, '&') + 1
	if eq := bytes.IndexByte(o.query[start:], '='); eq < 1 || start+eq+1 != len(o.query) {
		return false
	}
	o.query = o.query[:max(start-1, 0)]
	return true
}

// endsPair reports whether nothing of the query's current pair follows.
func endsPair(rest []piece) bool {
	return len(rest) == 0 || rest[0].arg < 0 && (rest[0].lit[0] == '&' || rest[0].lit[0] == '#')
}

func (o *target) argument(t *Tool, p piece, v value, place int) (err error) {
	a := &t.args[p.arg]
	switch place {
	case inQuery:
		o.query = v.appendText(o.query, queryEscape)
	case inPath:
		o.holds = p.arg + 1
		if !v.sent() || v.empty() {
			if p.brace {
				return &argumentError{a.name, "is needed in the path and must not be empty"}
			}
			// {{.args.x}} prints nothing, as its author may want at the end; inside, it would take a segment away.
			if v.set && len(o.path) > 0 && o.path[len(o.path)-1] == '/' {
				return &argumentError{a.name, "must not be empty"}
			}
			return nil
		}
		if a.multi && v.isText {
			if strings.Trim(v.text, "/") == "" {
				return &argumentError{a.name, errEmpty.Error()}
			}
			if o.path, o.segment, err = template.AppendSegments(o.path, o.segment, v.text); err != nil {
				return &argumentError{a.name, errSegments.Error()}
			}
			return nil
		}
		o.path = v.appendText(o.path, appendSegment)
	}
	return nil
}

// argumentError is a fault of the caller, told to the caller.
type argumentError struct{ name, what string } // name may be empty

func (e *argumentError) Error() string {
	if e.name == "" {
		return e.what
	}
	return "argument " + strconv.Quote(e.name) + " " + e.what
}

// without removes the pairs of a query that have one of these names.
func without(query []byte, names func(string) bool) []byte {
	out := query[:0:len(query)]
	for pair := range strings.SplitSeq(string(query), "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); pair == "" || err == nil && names(plain) {
			continue
		}
		if len(out) > 0 {
			out = append(out, '&')
		}
		out = append(out, pair...)
	}
	return out
}
