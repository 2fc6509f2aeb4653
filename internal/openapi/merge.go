package openapi

import (
	"math/big"
	"slices"
)

// merge adds the keywords of b to a, so that a takes what both took. What cannot be one keyword stays beside it
// in an allOf. Annotations are a's where both have them: a stands further out.
func (w *schemaWriter) merge(a, b *node) {
	if b.kind == boolean { // true adds nothing; false is a mistake that would make the tool uncallable
		return
	}
	for i, key := range b.keys {
		old, value := a.get(key), b.items[i]
		switch {
		case old == nil:
			a.set(key, value)
		case equal(old, value) || slices.Contains(annotations, key):
		case key == "properties" || key == "patternProperties":
			for j, name := range value.keys {
				if property := old.get(name); property != nil && property.kind == object {
					w.merge(property, value.items[j])
				} else {
					old.set(name, value.items[j])
				}
			}
		case key == "required" || key == "allOf":
			for _, n := range value.items {
				if !slices.ContainsFunc(old.items, func(o *node) bool { return equal(o, n) }) {
					old.items = append(old.items, n)
				}
			}
		case key == "additionalProperties" && (old.is(boolean) || value.is(boolean)):
			// Taken literally, "no others" in one branch forbids the properties of the next. Nobody means that.
			a.set(key, newBool(false))
		case key == "items" && old.is(object) && value.is(object):
			w.merge(old, value)
		default:
			if one := stricter(key, old, value); one != nil {
				a.set(key, one)
			} else {
				w.beside(a, key, value)
			}
		}
	}
}

// annotations describe and do not constrain.
var annotations = []string{"description", "default", "deprecated", "format", "contentEncoding", "contentMediaType"}

// stricter gives the value of a keyword that stands for both; nil if no single one can.
func stricter(key string, a, b *node) *node {
	switch key {
	case "type":
		return commonType(a, b)
	case "enum":
		var both []*node
		for _, n := range a.items {
			if slices.ContainsFunc(b.items, func(o *node) bool { return equal(o, n) }) {
				both = append(both, n)
			}
		}
		if len(both) > 0 {
			return newList(both...)
		}
	case "minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties":
		return further(a, b, 1)
	case "maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties":
		return further(a, b, -1)
	}
	return nil
}

func further(a, b *node, sign int) *node {
	x, okX := new(big.Float).SetString(a.text)
	y, okY := new(big.Float).SetString(b.text)
	if !okX || !okY {
		return nil
	}
	if x.Cmp(y)*sign >= 0 {
		return a
	}
	return b
}

// commonType intersects types; an integer is a number.
func commonType(a, b *node) *node {
	var both []*node
	for _, x := range typesOf(a) {
		for _, y := range typesOf(b) {
			t := ""
			switch {
			case x == y:
				t = x
			case x == "integer" && y == "number" || x == "number" && y == "integer":
				t = "integer"
			}
			if t != "" && !slices.ContainsFunc(both, func(n *node) bool { return n.text == t }) {
				both = append(both, newText(t))
			}
		}
	}
	switch len(both) {
	case 0:
		return nil
	case 1:
		return both[0]
	}
	return newList(both...)
}

func typesOf(n *node) []string {
	if n.is(text) {
		return []string{n.text}
	}
	var types []string
	for _, item := range itemsOf(n) {
		types = append(types, item.text)
	}
	return types
}

func itemsOf(n *node) []*node {
	if n == nil {
		return nil
	}
	return n.items
}

// beside keeps a keyword that a has otherwise already.
func (w *schemaWriter) beside(a *node, key string, value *node) {
	w.left--
	extra := newObject().set(key, value)
	if all := a.get("allOf"); all != nil {
		all.items = append(all.items, extra)
		return
	}
	a.set("allOf", newList(extra))
}
