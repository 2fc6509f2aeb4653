package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// Bounds of what is looked at of one grants document when somebody asks for its status.
const (
	maxAdvice   = 20
	maxMatching = 1_000_000 // patterns times tools
)

// adviseGrants says what a grants document that is in force asks for in vain, now that the service is known.
func (x *Index) adviseGrants(g *registry.Grants, s *Service) (all []Fault) {
	if s == nil {
		return nil
	}
	add := func(line int, field, format string, args ...any) {
		if len(all) < maxAdvice {
			all = append(all, Fault{Line: line, Field: field, Message: fmt.Sprintf(format, args...), Warning: true})
		}
	}
	if s.NotServed != "" || s.Latest == nil || !s.Latest.Kind.Converted() {
		return all // which tools there are is known to the backend alone
	}
	tools := s.Latest.allTools()
	for _, v := range s.Others {
		tools = append(tools, v.allTools()...)
	}
	names := make(map[string]bool, len(tools))
	for _, name := range tools {
		names[name] = true
	}
	globs := 0
	unmatched := func(pattern string) bool {
		if !strings.Contains(pattern, "*") {
			return !names[pattern]
		}
		if globs++; globs*len(tools) > maxMatching {
			return false
		}
		return !access.Matches(pattern, tools)
	}
	say := func(line int, field, pattern string) {
		if unmatched(pattern) && len(all) < maxAdvice {
			add(line, field, "the service offers no tool of the name %q%s", registry.Shown(pattern), spelling.DidYouMean(pattern, tools))
		}
	}
	for i := range g.Tools {
		say(g.Tools[i].Line, "tools."+registry.Shown(g.Tools[i].Pattern), g.Tools[i].Pattern)
	}
	if g.Limits != nil {
		for _, pattern := range slices.Sorted(maps.Keys(g.Limits.Tools)) {
			say(g.Limits.Line, "limits.tools."+registry.Shown(pattern), pattern)
		}
	}
	return all
}
