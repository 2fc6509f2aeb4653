package template

import (
	"encoding/base64"
	"errors"
	"fmt"
	"text/template/parse"
)

// A credential is a value of its own kind, which stands for text that is looked up only when it is printed. Nothing else
// can be done with it but select a field and ask for its base64: no function, condition or comparison ever sees the text,
// so that neither what a template prints elsewhere nor which way it takes can depend on it. The compiler rejects what it
// can see; where it cannot (a value that was passed to another template, a path made at run time) the execution fails.

// credential is what a KindSecret value refers to.
type credential struct {
	parts  []SecretPart
	path   []string // selected fields
	base64 bool
}

// SecretPart is text of the author's, or a reference as written between "${" and "}".
type SecretPart struct{ Text, Ref string }

// Secret makes a value of text with references in it.
func Secret(parts ...SecretPart) Value {
	return Value{kind: KindSecret, flags: tainted, p: &credential{parts: parts}}
}

// Holding says where a value holds credentials.
type Holding uint8

// Holdings.
const (
	HoldsNone   Holding = iota
	HoldsInside         // somewhere within an array or object
	HoldsSecret         // it is one, or text with one in it
)

const secretUses = "a credential can only be printed, joined to the text around it, selected from (.field) or piped to b64enc"

// Errors of a credential in the wrong place. They have no more to say, since a caller may see them.
var (
	errSecretUse  = errors.New(secretUses)
	errSecretHost = errors.New("a credential stands in the scheme, host or port of the URL")
	errSecretPath = errors.New("a credential stands in the URL's path: only one whose document says \"path: true\" may")
)

// IsSecretPlace reports whether err is of a credential that stands where a URL must not have it.
func IsSecretPlace(err error) bool {
	return errors.Is(err, errSecretHost) || errors.Is(err, errSecretPath)
}

// selected is the field of a credential's JSON.
func (v Value) selected(name string) Value {
	c := *v.p.(*credential)
	if c.base64 {
		return v.none()
	}
	c.path = append(c.path[:len(c.path):len(c.path)], name)
	v.p = &c
	return v
}

// encoded is the base64 of a credential.
func (v Value) encoded() (Value, error) {
	c := *v.p.(*credential)
	if c.base64 {
		return Value{}, errSecretUse
	}
	c.base64 = true
	v.p = &c
	return v, nil
}

// reveal looks a credential up, to be printed. inPath says that it may stand in the path of a URL.
func (e *exec) reveal(pos parse.Pos, v Value) (out Value, inPath bool, err error) {
	c := v.p.(*credential)
	if len(c.parts) == 1 && c.parts[0].Text == "" {
		out, inPath, err = e.lookUp(pos, c.parts[0].Ref, c.path)
	} else if len(c.path) == 0 { // text with a credential in it has no fields
		var text []byte
		inPath = true
		for _, part := range c.parts {
			text = append(text, part.Text...)
			if part.Ref == "" {
				continue
			}
			piece, allowed, err := e.lookUp(pos, part.Ref, nil)
			if err != nil {
				return Value{}, false, err
			}
			text = piece.AppendText(text)
			inPath = inPath && allowed
		}
		out = String(string(text))
	}
	if err != nil {
		return Value{}, false, err
	}
	if c.base64 {
		out = String(base64.StdEncoding.EncodeToString(out.AppendText(nil)))
	}
	return out.Tainted(), inPath, nil
}

// lookUpSteps is what looking a credential up counts for: its document may have to be read.
const lookUpSteps = 500

func (e *exec) lookUp(pos parse.Pos, ref string, path []string) (Value, bool, error) {
	if e.env.Secret == nil {
		return Value{}, false, e.fail(pos, fmt.Errorf("look up ${%s}: references are not resolved here", ref))
	}
	if err := e.charge(lookUpSteps); err != nil {
		return Value{}, false, e.fail(pos, err)
	}
	v, inPath, err := e.env.Secret(ref, path)
	if err != nil {
		return Value{}, false, e.fail(pos, fmt.Errorf("look up ${%s}: %w", ref, err))
	}
	return v, inPath, nil
}

// printSecret prints a credential as the mode wants it in this place.
func (e *exec) printSecret(pos parse.Pos, v Value) error {
	if e.t.opts.Mode == URL {
		switch e.place.part {
		case urlStart, urlColon, urlColon1, urlAuthority, urlOpaque:
			return errSecretHost
		}
	}
	out, inPath, err := e.reveal(pos, v)
	if err != nil {
		return err
	}
	if e.t.opts.Mode == URL && !inPath && (e.place.part == urlPath || e.place.part == urlSlash) {
		return errSecretPath
	}
	return e.print(out)
}

// Compiling.

// holding says where a value that the compiler knows holds credentials.
func (c *compiler) holding(at static) Holding {
	switch {
	case at.secret:
		return HoldsSecret
	case at.known && c.t.opts.Holding != nil:
		return c.t.opts.Holding(at.path)
	}
	return HoldsNone
}

// printable rejects what would print credentials that stand within something else.
func (c *compiler) printable(pos parse.Pos, at static) {
	if c.holding(at) == HoldsInside {
		c.fail(pos, "there are credentials within this value: print its fields one by one")
	}
}

// asked rejects a condition or loop over credentials.
func (c *compiler) asked(pos parse.Pos, what string, at static, inside bool) {
	if h := c.holding(at); h == HoldsSecret || inside && h == HoldsInside {
		c.fail(pos, "%s over a credential: %s", what, secretUses)
	}
}

// passed rejects a credential as the argument of a function, and returns what is known of the result.
func (c *compiler) passed(pos parse.Pos, name string, args []static) (result static, encoded bool) {
	for _, at := range args {
		h := c.holding(at)
		switch {
		case h == HoldsNone:
			continue
		case h == HoldsSecret && name == "b64enc" && !at.encoded:
			return static{secret: true, encoded: true}, true
		case h == HoldsInside && (name == "index" || name == "get"): // selects a field whose name is no identifier
			continue
		case h == HoldsInside:
			c.fail(pos, "function %q over a value with credentials in it: print its fields one by one", name)
			continue
		}
		hint := ""
		switch name {
		case "urlquery":
			hint = "; in a query it is escaped without it"
		case "quote", "toJson":
			hint = "; in a JSON body it is escaped without it"
		case "print", "printf", "cat", "join":
			hint = "; write the text around it"
		}
		c.fail(pos, "function %q over a credential: %s%s", name, secretUses, hint)
	}
	return static{}, false
}
