package convert

import (
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	// maxSchemaCost is how many subschemas one instance node may meet before the schema itself is refused.
	maxSchemaCost = 100_000
	// maxInPlace is how many schemas may apply one within the other to one instance node: the library looks through all
	// of those above for cycles.
	maxInPlace = 256
	// matchPerEvaluation is how many bytes times instructions of a program are as much work as an evaluation.
	matchPerEvaluation = 16
)

// measure works out what validating costs: for instances of depth 0, 1, 2, … how often the validator may have to look at
// one instance node. The library neither counts nor stops; a few lines of anyOf and $ref can otherwise keep it busy for
// hours.
func (s *schema) measure() error {
	order, err := inPlaceOrder(s.root)
	if err != nil {
		return err
	}
	own := make([]int, len(order))
	for i, sub := range order {
		own[i] = ownCost(sub)
		s.program = max(s.program, programAt(sub))
		s.dynamic = s.dynamic || sub.DynamicRef != nil || sub.RecursiveRef != nil
	}
	prev, cur := map[*jsonschema.Schema]int{}, map[*jsonschema.Schema]int{}
	for depth := 0; depth <= maxDepth; depth++ {
		changed := depth == 0
		for i, sub := range order { // what applies to the same instance node comes first
			n := own[i]
			for c := range sameNode(sub) {
				n += cur[c]
			}
			if depth > 0 {
				n += childCost(sub, prev)
			}
			cur[sub] = min(n, maxEvaluations+1)
			changed = changed || cur[sub] != prev[sub]
		}
		if depth == 0 && cur[s.root] > maxSchemaCost {
			return errors.New("schema is too costly: its allOf, anyOf and $ref multiply")
		}
		if !changed {
			break // not recursive, or nothing deeper
		}
		s.cost = append(s.cost, cur[s.root])
		prev, cur = cur, prev
		clear(cur)
	}
	return nil
}

// bound bounds from above what validating an instance costs, given its depth and its size in bytes of JSON.
func (s *schema) bound(depth, size int) int {
	each, size := s.cost[min(depth, len(s.cost)-1)], min(size, 1<<31)
	nodes := each * (size/2 + 1)
	if s.program == 0 {
		return nodes
	}
	// Each byte may be matched by as many programs as there are evaluations of a node.
	return min(nodes, 1<<31) + min(each*(size+1)/matchPerEvaluation, 1<<31)*min(s.program, 1<<20)
}

// evaluations counts what validating v costs, from above. It stops when that is more than maxEvaluations.
func (s *schema) evaluations(v any) int {
	w := costWalk{}
	w.node(s.root, v)
	return w.n
}

// evaluationsOf is what validating v against a part of the schema costs at most.
func (s *schema) evaluationsOf(part *jsonschema.Schema, v any, depth, size int) int {
	if s.dynamic {
		return s.bound(depth+1, size)
	}
	w := costWalk{}
	w.node(part, v)
	return w.n
}

// costWalk goes the way of the validator, and takes every branch.
type costWalk struct{ n int }

func (w *costWalk) over() bool { return w.n > maxEvaluations }

func (w *costWalk) node(s *jsonschema.Schema, v any) {
	if w.n += ownCost(s); w.over() || s.Bool != nil {
		return
	}
	switch v := v.(type) {
	case string:
		w.n += len(v) / 256 // copied
		if s.Format != nil {
			w.n += len(v) / 32
		}
		w.match(programOf(s.Pattern), v)
	case json.Number:
		w.n += len(v) / 8
		if s.Minimum != nil || s.Maximum != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil || s.MultipleOf != nil {
			w.n += 8 // rationals
		}
	case map[string]any:
		w.object(s, v)
	case []any:
		w.array(s, v)
	}
	for c := range sameNode(s) {
		if w.over() {
			return
		}
		w.node(c, v)
	}
}

func (w *costWalk) match(program int, text string) {
	w.n = min(w.n+program*(1+len(text))/matchPerEvaluation, maxEvaluations+1)
}

func (w *costWalk) object(s *jsonschema.Schema, v map[string]any) {
	w.n += len(v) / 2
	for name, member := range v {
		if w.over() {
			return
		}
		named, ok := s.Properties[name]
		if ok {
			w.node(named, member)
		}
		for re, c := range s.PatternProperties {
			w.match(programOf(re), name)
			w.node(c, member)
		}
		if additional, isSchema := s.AdditionalProperties.(*jsonschema.Schema); isSchema && !ok {
			w.node(additional, member)
		}
		if s.UnevaluatedProperties != nil {
			w.node(s.UnevaluatedProperties, member)
		}
		if s.PropertyNames != nil {
			w.node(s.PropertyNames, name)
		}
	}
}

func (w *costWalk) array(s *jsonschema.Schema, v []any) {
	w.n += len(v) / 2
	if s.UniqueItems {
		w.n += uniqueCost(v)
	}
	_, all := children(s)
	positional := len(s.PrefixItems)
	if list, ok := s.Items.([]*jsonschema.Schema); ok {
		positional += len(list)
	}
	for i, e := range v {
		if i < positional && !w.over() {
			w.node(all[i], e)
		}
		for _, c := range all[positional:] {
			if w.over() {
				return
			}
			w.node(c, e)
		}
	}
}

// uniqueCost is what looking for equal elements costs. The library compares each with each up to 20, and beyond that those
// with the same hash; lists and objects can be made to have the same one.
func uniqueCost(v []any) int {
	nested := slices.ContainsFunc(v, func(e any) bool {
		switch e.(type) {
		case []any, map[string]any:
			return true
		}
		return false
	})
	if n := min(len(v), 1<<20); nested || n <= 20 {
		return n * n / 4
	}
	return 2 * len(v)
}

// ownCost is what evaluating s by itself costs.
func ownCost(s *jsonschema.Schema) int {
	n := 1 + len(s.Required)
	if s.Enum != nil {
		for _, v := range s.Enum.Values {
			n += valueCost(v)
		}
	}
	if s.Const != nil {
		n += valueCost(*s.Const)
	}
	for _, names := range s.DependentRequired {
		n += len(names)
	}
	for _, c := range s.Dependencies {
		if names, ok := c.([]string); ok {
			n += len(names)
		}
	}
	return n
}

// valueCost is what comparing with v costs at most.
func valueCost(v any) int {
	n := 1
	switch v := v.(type) {
	case json.Number:
		n += 4 + len(v)/8
	case []any:
		for _, e := range v {
			n += valueCost(e)
		}
	case map[string]any:
		for _, e := range v {
			n += valueCost(e)
		}
	}
	return n
}

// programAt is the size of all programs that s matches against one string or name.
func programAt(s *jsonschema.Schema) int {
	names := 0
	for re := range s.PatternProperties {
		names += programOf(re)
	}
	return max(names, programOf(s.Pattern))
}

// inPlaceOrder lists every schema reachable from root after those it applies to the same instance node.
func inPlaceOrder(root *jsonschema.Schema) ([]*jsonschema.Schema, error) {
	const entered = -1
	heights := map[*jsonschema.Schema]int{}
	var order []*jsonschema.Schema
	todo := []*jsonschema.Schema{root}
	var visit func(s *jsonschema.Schema) (height int, err error)
	visit = func(s *jsonschema.Schema) (int, error) {
		switch height := heights[s]; {
		case height == entered:
			return 0, errors.New("schema refers to itself without going deeper: " + shortened(strings.TrimPrefix(s.Location, schemaAddress), maxQuoted))
		case height > 0:
			return height, nil
		}
		heights[s] = entered
		height := 1
		for c := range sameNode(s) {
			below, err := visit(c)
			if err != nil {
				return 0, err
			}
			height = max(height, below+1)
		}
		if height > maxInPlace {
			return 0, errors.New("schema is too costly: too many $ref and allOf lead from one to the next")
		}
		heights[s] = height
		order = append(order, s)
		obj, list := children(s)
		todo = append(append(todo, obj...), list...)
		return height, nil
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, err := visit(s); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// sameNode yields the schemas that s applies to the very instance node it is applied to.
func sameNode(s *jsonschema.Schema) iter.Seq[*jsonschema.Schema] {
	return func(yield func(*jsonschema.Schema) bool) {
		dynamic := (*jsonschema.Schema)(nil)
		if s.DynamicRef != nil {
			dynamic = s.DynamicRef.Ref
		}
		for _, c := range [...]*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else, dynamic} {
			if c != nil && !yield(c) {
				return
			}
		}
		for _, list := range [...][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf} {
			for _, c := range list {
				if !yield(c) {
					return
				}
			}
		}
		for _, c := range s.DependentSchemas {
			if !yield(c) {
				return
			}
		}
		for _, c := range s.Dependencies {
			if c, ok := c.(*jsonschema.Schema); ok && !yield(c) {
				return
			}
		}
	}
}

// children lists the schemas that s applies to members and to elements of an instance.
func children(s *jsonschema.Schema) (members, elements []*jsonschema.Schema) {
	for _, c := range s.Properties {
		members = append(members, c)
	}
	for _, c := range s.PatternProperties {
		members = append(members, c)
	}
	members = appendSchema(members, s.AdditionalProperties, s.PropertyNames, s.UnevaluatedProperties)
	elements = append(elements, s.PrefixItems...)
	if list, ok := s.Items.([]*jsonschema.Schema); ok {
		elements = append(elements, list...)
	}
	elements = appendSchema(elements, s.Items, s.AdditionalItems, s.Items2020, s.Contains, s.UnevaluatedItems)
	return members, elements
}

func appendSchema(list []*jsonschema.Schema, some ...any) []*jsonschema.Schema {
	for _, c := range some {
		if c, ok := c.(*jsonschema.Schema); ok && c != nil {
			list = append(list, c)
		}
	}
	return list
}

// childCost bounds what one member or element costs: of the named properties one applies, of the rest all may.
func childCost(s *jsonschema.Schema, cost map[*jsonschema.Schema]int) int {
	named := 0
	for _, c := range s.Properties {
		named = max(named, cost[c])
	}
	rest := 0
	for _, c := range s.PatternProperties {
		rest += cost[c]
	}
	for _, c := range appendSchema(nil, s.AdditionalProperties, s.PropertyNames, s.UnevaluatedProperties) {
		rest += cost[c]
	}
	members := named + rest

	elements := 0
	_, list := children(s)
	for _, c := range list {
		elements += cost[c]
	}
	return max(members, elements)
}
