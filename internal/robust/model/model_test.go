package model_test

import (
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/robust/model"
)

// TestTableOfAccess goes through the rows of "How it is decided" in docs/access.md. Seen red with the order of the rows for the
// switch and the key exchanged, and with groups left out.
func TestTableOfAccess(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	alice := &model.Consumer{Groups: []string{"team"}, Keys: map[string]model.Key{"k": {}, "off": {Off: true}, "old": {Until: now}, "new": {Until: now.Add(1)}}}
	off := &model.Consumer{Off: true, Keys: alice.Keys}
	shop := &model.Service{Tools: []string{"get", "list"}}
	to := func(all ...model.Grantee) []model.Grantee { return all }
	whole := &model.Grants{All: to(model.Grantee{Consumer: "alice"})}
	for _, row := range []struct {
		what      string
		c         *model.Consumer
		g         *model.Grants
		s         *model.Service
		key, tool string
		want      bool
	}{
		{"switch off, no key", nil, &model.Grants{Open: true}, shop, "", "get", true},
		{"switch off, a tool that is not there", nil, &model.Grants{Open: true}, shop, "", "put", false},
		{"no key", nil, whole, shop, "", "get", false},
		{"a key that nobody holds", alice, whole, shop, "x", "get", false},
		{"a disabled key", alice, whole, shop, "off", "get", false},
		{"an expired key", alice, whole, shop, "old", "get", false},
		{"a key about to expire", alice, whole, shop, "new", "get", true},
		{"a disabled consumer", off, whole, shop, "k", "get", false},
		{"no service", alice, whole, nil, "k", "get", false},
		{"no grants document", alice, nil, shop, "k", "get", false},
		{"nobody granted", alice, &model.Grants{}, shop, "k", "get", false},
		{"an expired grant", alice, &model.Grants{All: to(model.Grantee{Consumer: "alice", Until: now})}, shop, "k", "get", false},
		{"service grant", alice, whole, shop, "k", "list", true},
		{"service grant through a group", alice, &model.Grants{All: to(model.Grantee{Group: "team"})}, shop, "k", "list", true},
		{"service grant of another group", alice, &model.Grants{All: to(model.Grantee{Group: "other"})}, shop, "k", "list", false},
		{"tool grant", alice, &model.Grants{Tools: map[string][]model.Grantee{"get": to(model.Grantee{Consumer: "alice"})}}, shop, "k", "get", true},
		{"tool grant on another tool", alice, &model.Grants{Tools: map[string][]model.Grantee{"get": to(model.Grantee{Consumer: "alice"})}}, shop, "k", "list", false},
		{"tool grant with an asterisk", alice, &model.Grants{Tools: map[string][]model.Grantee{"l*": to(model.Grantee{Group: "team"})}}, shop, "k", "list", true},
	} {
		if got := model.Allows("alice", row.c, row.g, row.s, row.key, row.tool, now); got != row.want {
			t.Errorf("%s: %t", row.what, got)
		}
	}
}
