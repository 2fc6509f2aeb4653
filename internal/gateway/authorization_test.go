package gateway

import (
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/upstream"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// The publisher of a service that asks for Authorization learns no key of the proxy, however callers wrapped it.
//
// Seen to fail, each row: with withheld giving "" for all; those of isOurs with Index.Holder in place of Known, with
// decoded or sides left out, and with the check of the number of values or words left out.
func TestNoKeyOfOursLeavesInAuthorization(t *testing.T) {
	const plain = "made-up:by=people 0123456789" // a `value:` without our prefix
	x := people(t, map[string]string{
		"alice":    holding("alices-key-0123456789", ""),
		"plain":    "keys: [{id: k1, value: \"" + plain + "\"}]\n",
		"disabled": holding("disabled-key-0123456789", "enabled: false\n"),
		"expired":  strings.Replace(holding("expired-key-0123456789", ""), "id: k1", "notAfter: 2020-01-01T00:00:00Z, id: k1", 1),
		"rejected": "nonsense: true\nkeys: [{id: k1, value: rejected-key-0123456789}]\n",
	})
	g := &Gateway{options: Options{Sources: defaultSources}}
	for _, c := range []struct {
		name   string
		values []string
		want   string
	}{
		{"none", nil, ""},
		{"a token", []string{"Bearer callers-own.token-0123"}, ""},
		{"with an odd alphabet", []string{"Bearer 17|abc:def=="}, ""},
		{"user and password", []string{basic("ann", "pass:word")}, ""},
		{"no scheme", []string{"callers-own"}, ""},
		{"parameters", []string{`Digest username="ann", realm="x", nonce="0123=="`}, ""},

		{"twice", []string{"Bearer a", "Bearer b"}, sentTwice},
		{"twice, one of them a key", []string{"Bearer alices-key-0123456789", "Bearer b"}, sentTwice},
		{"two in one", []string{"Bearer a, Bearer b"}, holdsSeveral},
		{"two words", []string{"bearer a b"}, holdsSeveral},
		{"two in Basic", []string{"BASIC YTpi\tYTpj"}, holdsSeveral},

		{"our prefix", []string{"Bearer nmp_somebody_0123"}, looksLikeOurs},
		{"our prefix without a blank", []string{"Bearernmp_somebody_0123"}, looksLikeOurs},
		{"our prefix as user", []string{basic("nmp_somebody_0123", "")}, looksLikeOurs},
		{"our prefix as password", []string{basic("x", "nmp_somebody_0123")}, looksLikeOurs},
		{"our prefix as password of a user in Latin-1", []string{basic("j\xf6rg", "nmp_somebody_0123")}, looksLikeOurs},
		{"a key as password of a user in Latin-1", []string{basic("j\xf6rg", "alices-key-0123456789")}, isOurs},
		{"our prefix, wrapped twice", []string{basic("x", base64.URLEncoding.EncodeToString([]byte("Bearer nmp_somebody_0123")))}, looksLikeOurs},
		{"our prefix, percent-encoded", []string{"Bearer %6emp%5Fsomebody_0123"}, looksLikeOurs},
		{"our prefix in a parameter", []string{`Digest username="nmp_somebody_0123", realm="x"`}, looksLikeOurs},

		{"a key", []string{"Bearer alices-key-0123456789"}, isOurs},
		{"in capitals", []string{"BEARER alices-key-0123456789"}, isOurs},
		{"in small letters", []string{"bearer alices-key-0123456789"}, isOurs},
		{"several blanks", []string{"  Bearer \t  alices-key-0123456789  "}, isOurs},
		{"without a scheme", []string{"alices-key-0123456789"}, isOurs},
		{"another scheme", []string{"Token alices-key-0123456789"}, isOurs},
		{"the scheme twice", []string{"Bearer Bearer alices-key-0123456789"}, isOurs},
		{"in a list", []string{"Bearer a, alices-key-0123456789"}, isOurs},
		{"in a parameter", []string{"Token token=alices-key-0123456789"}, isOurs},
		{"quoted", []string{`Token token="alices-key-0123456789", x=1`}, isOurs},
		{"as user", []string{basic("alices-key-0123456789", "x")}, isOurs},
		{"as password", []string{basic("x", "alices-key-0123456789")}, isOurs},
		{"in Basic alone", []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("alices-key-0123456789"))}, isOurs},
		{"in Basic without padding", []string{strings.TrimRight(basic("alices-key-0123456789", ""), "=")}, isOurs},
		{"encoded, without a scheme", []string{base64.StdEncoding.EncodeToString([]byte("alices-key-0123456789"))}, isOurs},
		{"a token that is Basic's", []string{"Bearer " + base64.RawURLEncoding.EncodeToString([]byte("alices-key-0123456789"))}, isOurs},
		{"wrapped twice", []string{basic("x", strings.TrimPrefix(basic("y", "alices-key-0123456789"), "Basic "))}, isOurs},
		{"a key with blanks, colons and signs", []string{"Bearer " + plain}, isOurs},
		{"that as password", []string{basic("x", plain)}, isOurs},
		{"disabled", []string{"Bearer disabled-key-0123456789"}, isOurs},
		{"expired", []string{"Bearer expired-key-0123456789"}, isOurs},
		{"of a rejected document", []string{"Bearer rejected-key-0123456789"}, isOurs},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := g.withheld(c.values, x); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			h := http.Header{}
			if c.values != nil {
				h["Authorization"] = c.values
			}
			g.strip(h, x.Consumer("alice"), x)
			if passed := len(h["Authorization"]) > 0; passed != (c.want == "" && c.values != nil) {
				t.Errorf("passed on: %v", passed)
			}
		})
	}
}

// Removed keys count as keys, also in the next run.
//
// Seen to fail without retireRemoved, without Keep.Retired, and without Options.Retired.
func TestRemovedKeysStayKnown(t *testing.T) {
	upstreams := upstream.New(upstream.Options{})
	t.Cleanup(upstreams.Close)
	handed := make(chan catalog.Retired, 10)
	options := catalog.Options{
		Services: 1, Backends: upstreams, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Convert: func(s convert.Secrets) convert.Options { return convert.Options{Secrets: s} },
		OnKeep: func(k catalog.Keep) {
			for _, r := range k.Retired {
				handed <- r
			}
		},
	}
	c, err := catalog.New(options, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	change := func(name, content string) nacos.Change {
		return nacos.Change{
			Key: nacos.Key{Group: registry.GroupConsumers, DataID: name + ".yaml"}, Content: []byte(content), MD5: content, Deleted: content == "",
		}
	}
	apply := func(changes ...nacos.Change) {
		serial := c.Index().Serial()
		c.Apply(changes)
		for end := time.Now().Add(10 * time.Second); c.Index().Serial() == serial; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the edit is not in force")
			}
		}
	}
	apply(change("alice", holding("old-key-0123456789", "")), change("bob", holding("bobs-key-0123456789", "")))
	apply(change("alice", holding("new-key-0123456789", "")))
	apply(change("bob", ""))
	g := &Gateway{options: Options{Sources: defaultSources}}
	var retired [][32]byte
	for range 2 {
		select {
		case r := <-handed:
			retired = append(retired, r.Digests...)
		case <-time.After(10 * time.Second):
			t.Fatal("no removed key was handed over")
		}
	}
	options.Retired, options.OnKeep = retired, nil
	next, err := catalog.New(options, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.Close)
	for _, key := range []string{"old-key-0123456789", "bobs-key-0123456789"} {
		for run, x := range map[string]*catalog.Index{"this": c.Index(), "the next": next.Index()} {
			if why := g.withheld([]string{"Bearer " + key}, x); why != isOurs {
				t.Errorf("%s in %s run: %q", key, run, why)
			}
			r := httptest.NewRequest(http.MethodPost, "/mcp/x", nil)
			r.Header.Set("X-Api-Key", key)
			if got := g.identify(r, x, g.now()); got.consumer != nil || got.key != nil {
				t.Errorf("%s opens something in %s run", key, run)
			}
		}
	}
}

// What callers can make the search for keys do is bounded by the size of what they sent.
func TestSearchForKeysIsLinear(t *testing.T) {
	nested := strings.Repeat("a:b=c ", 100)
	for range 4 {
		nested = base64.StdEncoding.EncodeToString([]byte(nested + ":" + nested + "=" + nested))
	}
	for _, v := range []string{
		"Bearer " + nested, "Basic " + nested, nested,
		strings.Repeat("a ", len(nested)/2), strings.Repeat("YTpi:", len(nested)/5), strings.Repeat("%25", len(nested)/3), strings.Repeat("a=", len(nested)/2),
	} {
		var n, size int
		secrets(v, maxWrapped, func(s string) bool {
			n++
			size += len(s)
			return true
		})
		if size > 100*len(v) || n > 100*len(v) {
			t.Errorf("%d bytes %.20s…: looked at %d pieces of %d bytes", len(v), v, n, size)
		}
	}
}
