package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// shortKey is the length below which a key that people made up is flagged as guessable.
const shortKey = 20

// ParseConsumer reads a proxy-consumers document. The Consumer is nil where it is rejected. Of a key only the
// digest is kept, and no message holds either.
func ParseConsumer(dataID string, content []byte) (*Consumer, []Rejection) {
	r, name, root, ok := open(GroupConsumers, dataID, content)
	if !ok {
		return nil, r.sorted()
	}
	o := r.object(root, "", "enabled", "description", "groups", "keys", "sources", "limits")
	if o == nil {
		return nil, r.sorted()
	}
	c := &Consumer{Name: name, Enabled: o.boolean("enabled", true), Description: o.text("description"), Groups: readNames(o, "groups", "group")}
	ids, digests := map[string]int{}, map[[32]byte]string{}
	o.each("keys", func(path string, n *yaml.Node) {
		k := readKey(r, n, path)
		if k == nil {
			return
		}
		if line, taken := ids[k.ID]; taken && k.ID != "" {
			r.reject(n, join(path, "id"), "another key has this id already (line %d)", line)
		}
		ids[k.ID] = n.Line
		if id, taken := digests[k.Digest]; taken {
			r.reject(n, path, "is the same key as %q: one key has one id", shown(id))
		}
		digests[k.Digest] = k.ID
		c.Keys = append(c.Keys, *k)
	})
	c.Sources = readSources(o)
	c.Limits = readLimits(o, "limits")
	if r.refused {
		return nil, r.sorted()
	}
	all := append(each(c.Groups), &c.Description)
	for i := range c.Keys {
		all = append(all, &c.Keys[i].ID)
	}
	together(all...)
	c.Keys = slices.Clone(c.Keys) // appending has left room
	return c, r.sorted()
}

// Keys as they stand in a document, whatever else is wrong with it.
var (
	statedDigest = regexp.MustCompile(`\b[0-9A-Fa-f]{64}\b`)
	statedValue  = regexp.MustCompile(`\bvalue["']?[ \t]*:[ \t]*["']?([^\s"',}]+)`)
)

// maxStated bounds the keys that are looked for in a document that was rejected.
const maxStated = 1000

// KeyDigests returns the digests of what looks like keys in a proxy-consumers document that ParseConsumer rejected, at most
// 1,000 of each of the two forms. Such keys open nothing, but whoever was given one sends it all the same.
func KeyDigests(content []byte) [][32]byte {
	var all [][32]byte
	for _, text := range statedDigest.FindAll(content, maxStated) {
		var d [32]byte
		if _, err := hex.Decode(d[:], text); err == nil {
			all = append(all, d)
		}
	}
	for _, m := range statedValue.FindAllSubmatch(content, maxStated) {
		all = append(all, sha256.Sum256(m[1]))
	}
	return all
}

func readKey(r *reader, n *yaml.Node, path string) *Key {
	o := r.object(n, path, "id", "sha256", "value", "notAfter", "enabled")
	if o == nil {
		return nil
	}
	k := &Key{Disabled: !o.boolean("enabled", true), NotAfter: o.instant("notAfter"), Line: n.Line}
	before := r.faults
	if o.require("id") {
		k.ID, _ = r.spelled(o.at["id"], join(path, "id"))
		if looksLikeKey(k.ID) {
			o.reject("id", "looks like a key: the id is only a name for it")
		} else if r.faults == before && !ValidName(k.ID) {
			o.reject("id", "must be 1 to 128 letters, digits, '.', '_' and '-'")
		}
	}
	switch {
	case o.has("sha256") && o.has("value"):
		o.reject("value", "is given together with sha256: keep the sha256")
	case o.has("sha256"):
		digest, ok := r.spelled(o.at["sha256"], join(path, "sha256"))
		raw, err := hex.DecodeString(digest)
		if ok && (err != nil || len(raw) != len(k.Digest)) {
			o.reject("sha256", "must be the SHA-256 of the key as 64 hexadecimal digits")
		}
		copy(k.Digest[:], raw)
	case o.has("value"):
		value := o.str("value")
		if value != strings.TrimSpace(value) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			o.reject("value", "must be printable ASCII without blanks around it: it could not be sent in a header")
		}
		k.Digest, k.Plain = sha256.Sum256([]byte(value)), true
		if r.faults == before {
			r.warn(o.at["value"], join(path, "value"), "the key stands here in plain text, for everybody who may read this document: store its sha256 instead")
			if len(value) < shortKey {
				r.warn(o.at["value"], join(path, "value"), "the key is shorter than %d characters and may be guessed", shortKey)
			}
		}
	default:
		o.require("sha256")
	}
	if r.faults > before {
		return nil
	}
	return k
}

// maxSources bounds the places that are searched in every request.
const maxSources = 16

func readSources(o *object) []KeySource {
	var list []KeySource
	if n := o.at["sources"]; n != nil && n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		o.reject("sources", "must name at least one place, or be left out for the default")
	}
	if n := o.at["sources"]; n != nil && len(n.Content) > maxSources {
		o.reject("sources", "must be at most %d places", maxSources)
		return nil
	}
	o.each("sources", func(path string, n *yaml.Node) {
		s, ok := readSource(o.r, n, path)
		if !ok {
			return
		}
		if slices.Contains(list, s) {
			o.r.reject(n, path, "is listed twice")
			return
		}
		list = append(list, s)
	})
	return list
}

func readSource(r *reader, n *yaml.Node, path string) (KeySource, bool) {
	const form = `must be bearer, {header: NAME} or {query: NAME}`
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		if n.Value != "bearer" {
			r.reject(n, path, "%s, not %q%s", form, shown(n.Value), spelling.DidYouMean(n.Value, []string{"bearer"}))
			return KeySource{}, false
		}
		return KeySource{Bearer: true}, true
	}
	if n.Kind != yaml.MappingNode {
		r.reject(n, path, "%s, not %s", form, kindOf(n))
		return KeySource{}, false
	}
	before := r.faults
	o := r.object(n, path, "header", "query")
	s := KeySource{Header: o.str("header"), Query: o.str("query")}
	switch {
	case o.has("header") == o.has("query"):
		if r.faults == before {
			r.reject(n, path, "%s", form)
		}
	case s.Header != "":
		if err := CheckKeyHeader(s.Header); err != nil {
			o.reject("header", "%s", err)
		}
		s.Header = http.CanonicalHeaderKey(s.Header)
	case s.Query != "":
		if err := CheckKeyQuery(s.Query); err != nil {
			o.reject("query", "%s", err)
		}
	}
	return s, r.faults == before
}

// Bounds that keep rates away from overflow; nobody needs more from one replica.
const (
	maxRate  = 1e6
	maxCount = 1_000_000
)

func readLimits(o *object, name string) *Limits {
	l := o.object(name, "rps", "burst", "concurrent")
	if l == nil {
		return nil
	}
	limits := l.limits()
	return &limits
}

// limits reads {rps, burst, concurrent}.
func (o *object) limits() Limits {
	l := Limits{RPS: o.number("rps", maxRate), Burst: o.integer("burst", maxCount), Concurrent: o.integer("concurrent", maxCount)}
	for _, name := range []string{"rps", "burst", "concurrent"} {
		// Zero means "no limit" inside the program, and "nothing at all" to most people.
		if n := o.at[name]; n != nil && n.Kind == yaml.ScalarNode && strings.Trim(n.Value, "+-0.") == "" && n.Value != "" {
			o.reject(name, "must be above 0: leave it out for no limit, or take the grant away for no calls")
		}
	}
	if l.Burst > 0 && !o.has("rps") {
		o.reject("burst", "needs rps beside it")
	}
	return l
}

// readNames reads a list of names of consumers or groups.
func readNames(o *object, name, what string) []string {
	var list []string
	seen := map[string]bool{}
	o.each(name, func(path string, n *yaml.Node) {
		s, ok := o.r.str(n, path)
		if !ok || !o.r.checkName(n, path, s, what) {
			return
		}
		if seen[s] {
			o.r.reject(n, path, "%q is listed twice", o.r.shown(s))
			return
		}
		seen[s] = true
		list = append(list, s)
	})
	return list
}

// checkName rejects what cannot be the name of a consumer, a group or a service.
func (r *reader) checkName(n *yaml.Node, path, s, what string) bool {
	switch {
	case looksLikeKey(s):
		r.reject(n, path, "looks like a key, not the name of a %s: revoke it if it is one", what)
	case !ValidName(s):
		r.reject(n, path, "%q cannot be the name of a %s: names are 1 to 128 letters, digits, '.', '_' and '-'", r.shown(s), what)
	default:
		return true
	}
	return false
}
