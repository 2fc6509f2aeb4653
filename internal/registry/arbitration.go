package registry

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Origin is where a service's name comes from.
type Origin struct {
	Group string // GroupServices or GroupManifests
	ID    string // data id of our document, or id of the manifest
}

// Wins tells whether a keeps a name that b claims too: our document beats the Nacos registry, and within
// one of them the smallest id keeps it. The other one is rejected by name. Nobody wins against itself.
func Wins(a, b Origin) bool {
	if ours, theirs := a.Group == GroupServices, b.Group == GroupServices; ours != theirs {
		return ours
	}
	return strings.Compare(a.ID, b.ID) < 0
}

// ClaimKeys gives a copy of c without the keys whose digest another consumer holds, and a rejection for each.
// holder tells who holds a digest, "" for nobody; who holds one must be remembered across restarts, else the
// newcomer of yesterday is the holder of today.
func ClaimKeys(dataID string, c *Consumer, holder func(digest [32]byte) string) (*Consumer, []Rejection) {
	r := &reader{group: GroupConsumers, dataID: dataID}
	kept := slices.Clone(c.Keys)[:0]
	for i, k := range c.Keys {
		if by := holder(k.Digest); by != "" && by != c.Name {
			// By whom is not said: whoever writes consumers must not learn whose key they hold.
			r.reject(&yaml.Node{Line: k.Line}, indexed("keys", i), "key %q is held by another consumer already and does not count here", k.ID)
			continue
		}
		kept = append(kept, k)
	}
	if len(kept) == len(c.Keys) {
		return c, nil
	}
	claimed := *c
	claimed.Keys = kept
	return &claimed, r.found
}
