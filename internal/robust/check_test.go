package robust

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/robust/model"
)

// probe is one call of a caller, and what came of it.
type probe struct {
	n             int
	consumer, key string // empty: no key
	service, tool string
	begun, ended  time.Time
	status        int
	text          string // of the tool's result
	refused       bool   // by the proxy: the key, the grants, the tool is unknown
	unready       bool   // the proxy does not answer yet, or has no configuration
	reached       bool   // a backend has seen it
	answer        string // for messages
}

// probes returns calls for each key and none, each service and each tool; a third of them, and others the next time.
func (w *world) probes(n *int, turn int) (all []*probe) {
	at := 0
	for _, service := range services {
		for _, tool := range tools {
			for _, consumer := range append([]string{""}, consumers...) {
				for i := range keysEach {
					key := ""
					if consumer != "" {
						key = secretOf(consumer, i)
					} else if i > 0 {
						continue
					}
					if at++; at%3 != turn%3 {
						continue
					}
					*n++
					all = append(all, &probe{n: *n, consumer: consumer, key: key, service: service, tool: tool})
				}
			}
		}
	}
	return all
}

// check compares what came of a call with what the model says about every state that the proxy may be in.
func (w *world) check(p *probe, expectReady bool) string {
	since := w.know.since(p.begun)
	older := since
	if strings.HasPrefix(p.service, fromRegistry) && !w.know.stale(p.begun) {
		older = p.begun.Add(-registryHolds - w.know.slack)
	}
	contents := w.content[p.service].possible(older)
	if strings.HasPrefix(p.service, fromRegistry) && anyOf(w.on[p.service].possible(since), func(on *struct{}) bool { return on == nil }) {
		contents = append(contents, nil)
		if !anyOf(w.on[p.service].possible(since), func(on *struct{}) bool { return on != nil }) {
			contents = []*model.Service{nil}
		}
	}
	holders := []*model.Consumer{nil}
	if p.consumer != "" {
		holders = w.consumers[p.consumer].possible(since)
	}
	may, must := false, true
	var marks []string
	for _, s := range contents {
		for _, g := range w.grants[p.service].possible(since) {
			if g == nil {
				g = &model.Grants{Open: w.open}
			}
			for _, c := range holders {
				if model.Allows(p.consumer, c, g, s, p.key, p.tool, p.begun) {
					may = true
					marks = append(marks, s.Mark)
					must = must && model.Allows(p.consumer, c, g, s, p.key, p.tool, p.ended)
				} else {
					must = false
				}
			}
		}
	}
	passes := p.reached || !p.refused && !p.unready
	switch {
	case passes && !may:
		return "allowed, but no state that the proxy may be in allows it"
	case p.unready && expectReady:
		return "not ready"
	case p.unready:
	case must && p.refused:
		return "refused, but every state that the proxy may be in allows it"
	case p.text != "" && !slices.ContainsFunc(marks, func(m string) bool { return p.text == expected(p, m) }) && !w.halves(p, contents):
		return fmt.Sprintf("not whole, or of another time, is the answer %q: none of the versions %v whole", p.text, slices.Compact(marks))
	case must && p.text == "" && !w.ill[p.service] && expectReady && w.reachable(p.service):
		return "failed, though its backend is well"
	}
	return ""
}

// halves reports whether an answer is put together of several versions that the proxy may know of, where that is not promised not to
// happen: what is written together arrives together on a quick link only, and an entry that is switched on again is not held back.
func (w *world) halves(p *probe, contents []*model.Service) bool {
	wasOff := anyOf(w.on[p.service].possible(p.begun.Add(-registryHolds-w.know.slack)), func(on *struct{}) bool { return on == nil })
	if !strings.HasPrefix(p.service, fromRegistry) || !w.know.stale(p.begun) && !wasOff {
		return false
	}
	if wasOff { // what was served before it was switched off may come back until all of what is newer is there
		contents = w.content[p.service].possible(time.Time{})
	}
	return !slices.ContainsFunc(strings.Fields(p.text), func(word string) bool {
		return word != p.tool && !anyOf(contents, func(s *model.Service) bool { return s != nil && s.Mark == word })
	})
}

// expected is what a tool of a version answers.
func expected(p *probe, mark string) string {
	if strings.Contains(p.service, passedOn) {
		return fmt.Sprintf("%s %s %s", mark, p.tool, mark)
	}
	return fmt.Sprintf("%s %s %s %s", mark, p.tool, mark, mark)
}

// reachable reports whether the instances of a service's backends must be known.
func (w *world) reachable(service string) bool {
	return !strings.HasPrefix(service, fromRegistry) || !w.know.stale(time.Now())
}

// stale reports whether what the proxy knows may be older than an edit takes to hold.
func (k *knowledge) stale(now time.Time) bool { return k.down || k.recovering(now) }
