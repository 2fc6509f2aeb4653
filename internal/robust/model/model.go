// Package model states in a few lines who may call what, as docs/access.md publishes it, for tests that compare the proxy with
// it. It must never import, nor be written after, the code that decides in the proxy: then both would err together.
package model

import (
	"path"
	"slices"
	"time"
)

// Consumer is what a consumer document says.
type Consumer struct {
	Off    bool
	Groups []string
	Keys   map[string]Key // by the key itself
}

// Key is one key of a consumer. A zero Until never comes.
type Key struct {
	Off   bool
	Until time.Time
}

// Grants is what a grants document says.
type Grants struct {
	Open  bool                 // the switch is off: auth: disabled
	All   []Grantee            // service level
	Tools map[string][]Grantee // tool level; a name may hold *
}

// Grantee is a consumer or a group. A zero Until never comes.
type Grantee struct {
	Consumer, Group string
	Until           time.Time
}

// Service is what a service's documents say.
type Service struct {
	Tools []string
	Mark  string // which version of the documents it is
}

// Allows reports whether a key may call a tool at an instant: c is the consumer that has the key and name that consumer's
// name, g the service's grants, s the service. Nil stands for a document that does not exist.
func Allows(name string, c *Consumer, g *Grants, s *Service, key, tool string, at time.Time) bool {
	if s == nil || !slices.Contains(s.Tools, tool) || g == nil {
		return false
	}
	if g.Open {
		return true
	}
	if c == nil || c.Off {
		return false
	}
	if k, ok := c.Keys[key]; !ok || k.Off || over(k.Until, at) {
		return false
	}
	means := func(to Grantee) bool {
		return !over(to.Until, at) && (to.Consumer == name || to.Group != "" && slices.Contains(c.Groups, to.Group))
	}
	if slices.ContainsFunc(g.All, means) {
		return true
	}
	for pattern, to := range g.Tools {
		if ok, _ := path.Match(pattern, tool); ok && slices.ContainsFunc(to, means) {
			return true
		}
	}
	return false
}

func over(until, at time.Time) bool { return !until.IsZero() && !at.Before(until) }
