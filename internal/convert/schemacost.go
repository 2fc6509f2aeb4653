package convert

import (
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxSchemaCost is how many subschemas one instance node may meet before the schema itself is refused.
const maxSchemaCost = 100_000

// costs works out, for instances of depth 0, 1, 2, …, how often the validator may have to look at one instance node.
// The library neither counts nor stops; a few lines of anyOf and $ref can otherwise keep it busy for hours.
func costs(root *jsonschema.Schema) ([]int, error) {
	order, err := inPlaceOrder(root)
	if err != nil {
		return nil, err
	}
	prev, cur := map[*jsonschema.Schema]int{}, map[*jsonschema.Schema]int{}
	var out []int
	for depth := 0; depth <= maxDepth; depth++ {
		changed := depth == 0
		for _, s := range order { // what applies to the same instance node comes first
			n := 1
			for _, c := range sameNode(s) {
				n += cur[c]
			}
			if depth > 0 {
				n += childCost(s, prev)
			}
			cur[s] = min(n, maxEvaluations+1)
			changed = changed || cur[s] != prev[s]
		}
		if depth == 0 && cur[root] > maxSchemaCost {
			return nil, errors.New("schema is too costly: its allOf, anyOf and $ref multiply")
		}
		if !changed {
			break // not recursive, or nothing deeper
		}
		out = append(out, cur[root])
		prev, cur = cur, prev
		clear(cur)
	}
	return out, nil
}

// inPlaceOrder lists every schema reachable from root after those it applies to the same instance node.
func inPlaceOrder(root *jsonschema.Schema) ([]*jsonschema.Schema, error) {
	const entered, done = 1, 2
	state := map[*jsonschema.Schema]int{}
	var order []*jsonschema.Schema
	todo := []*jsonschema.Schema{root}
	var visit func(s *jsonschema.Schema) error
	visit = func(s *jsonschema.Schema) error {
		switch state[s] {
		case entered:
			return errors.New("schema refers to itself without going deeper: " + s.Location[len(schemaAddress):])
		case done:
			return nil
		}
		state[s] = entered
		for _, c := range sameNode(s) {
			if err := visit(c); err != nil {
				return err
			}
		}
		state[s] = done
		order = append(order, s)
		obj, list := children(s)
		todo = append(append(todo, obj...), list...)
		return nil
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if err := visit(s); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// sameNode lists the schemas that s applies to the very instance node it is applied to.
func sameNode(s *jsonschema.Schema) []*jsonschema.Schema {
	var out []*jsonschema.Schema
	add := func(list ...*jsonschema.Schema) {
		for _, c := range list {
			if c != nil {
				out = append(out, c)
			}
		}
	}
	add(s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else)
	if s.DynamicRef != nil {
		add(s.DynamicRef.Ref)
	}
	add(s.AllOf...)
	add(s.AnyOf...)
	add(s.OneOf...)
	for _, c := range s.DependentSchemas {
		add(c)
	}
	for _, c := range s.Dependencies {
		if c, ok := c.(*jsonschema.Schema); ok {
			add(c)
		}
	}
	return out
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
