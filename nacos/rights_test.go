package nacos_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/nacostest"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestMissingRightsAreNamed: the status says what to grant; what is permitted works meanwhile; the rest follows once
// it is granted (Nacos takes up to 17 s to know).
func TestMissingRightsAreNamed(t *testing.T) {
	s := nacostest.Start(t)
	ns := s.Namespace(t)
	admin := connect(t, s, inNamespace(ns))
	open, shut := nacos.Key{Group: "open", DataID: "d"}, nacos.Key{Group: "shut", DataID: "d"}
	publish(t, admin, open, "1", nacos.AnyMD5)
	publish(t, admin, shut, "1", nacos.AnyMD5)
	user, password := s.NewUser(t, [2]string{"r", ns + ":open:config/*"})
	c := connect(t, s, inNamespace(ns), func(c *nacos.Config) { c.Username, c.Password = user, nacos.NewSecret(password) })
	v, _ := follow(t, c, nil, "open", "shut")
	eventually(t, 40*time.Second, "what is permitted", v.has(open, "1"))
	eventually(t, 20*time.Second, "the status names the right to list", func() bool {
		return strings.Contains(strings.Join(c.Status().Problems, "\n"),
			fmt.Sprintf("listing shut is not permitted: user %q may not list: grant it action r on %s:shut:config/* (or on %s:*:*)", user, ns, ns))
	})
	if _, err := c.Get(t.Context(), shut); !errors.Is(err, nacos.ErrForbidden) {
		t.Errorf("get: %v, want ErrForbidden", err)
	}
	err := c.Publish(t.Context(), nacos.Document{Key: open, Content: []byte("2")}, nacos.AnyMD5)
	if !errors.Is(err, nacos.ErrForbidden) || !strings.Contains(err.Error(), "grant it action w or rw on "+ns+":open:config/*") {
		t.Errorf("publish: %v, want ErrForbidden with the right to grant", err)
	}
	publish(t, admin, open, "3", nacos.AnyMD5)
	eventually(t, 5*time.Second, "edits of what is permitted", v.has(open, "3"))
	s.Grant(t, user, "r", ns+":shut:config/*")
	eventually(t, 60*time.Second, "the rest, once granted", v.has(shut, "1"))
	eventually(t, 60*time.Second, "no problem left", func() bool { return len(c.Status().Problems) == 0 })
	v.awaitSync(t)
}

// TestTokensAreRenewed: with tokens of 6 s nothing is ever refused.
func TestTokensAreRenewed(t *testing.T) {
	s := nacostest.Start(t, nacostest.TokenLife(6*time.Second))
	c := connect(t, s)
	key := nacos.Key{Group: "g", DataID: "d"}
	publish(t, c, key, "0", nacos.AnyMD5)
	v, _ := follow(t, c, nil, "g")
	v.awaitSync(t)
	for n := range 20 {
		time.Sleep(time.Second)
		content := fmt.Sprint(n)
		publish(t, c, key, content, nacos.AnyMD5)
		eventually(t, 5*time.Second, "edit "+content, v.has(key, content))
	}
	if p := c.Status().Problems; len(p) > 0 {
		t.Errorf("problems: %v", p)
	}
}
