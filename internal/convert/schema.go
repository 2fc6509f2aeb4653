package convert

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// schema is a compiled JSON Schema that takes bounded time to validate against.
type schema struct {
	root *jsonschema.Schema
	cost []int // evaluations per instance node, by the instance's depth; the last entry goes for anything deeper
}

// schemaAddress is what a schema without $id is called inside the library; it is cut out of messages.
const schemaAddress = "schema:input"

// maxEvaluations bounds one validation: nested anyOf below a recursive $ref doubles with every level of the instance.
const maxEvaluations = 5_000_000

// compileSchema compiles JSON Schema text: 2020-12 unless $schema says otherwise (draft-04 to 2020-12 are known).
// Patterns that RE2 cannot express are not enforced; they come back as warnings. Nothing is ever fetched.
func compileSchema(raw []byte) (s *schema, warnings []string, err error) {
	defer func() {
		// The library panics on some malformed documents; a publisher's typo must not end the process.
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("compile schema: %v", p)
		}
	}()
	doc, err := parseValue(raw, true)
	if err != nil {
		return nil, nil, fmt.Errorf("read schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(func(pattern string) (jsonschema.Regexp, error) {
		re, err := regexp.Compile(pattern)
		if err != nil {
			if w := fmt.Sprintf("pattern %q is not enforced: %v", pattern, err); !slices.Contains(warnings, w) {
				warnings = append(warnings, w)
			}
			return anything(pattern), nil
		}
		return re, nil
	})
	if err := c.AddResource(schemaAddress, doc); err != nil {
		return nil, nil, fmt.Errorf("read schema: %w", err)
	}
	root, err := c.Compile(schemaAddress)
	if err != nil {
		return nil, nil, schemaError(err)
	}
	cost, err := costs(root)
	if err != nil {
		return nil, nil, err
	}
	return &schema{root: root, cost: cost}, warnings, nil
}

// noLoader refuses every reference that leaves the document: a schema must not make the proxy fetch anything.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("references outside the document are not followed")
}

// anything stands for a pattern that Go's regular expressions cannot express (look-arounds, back references).
type anything string

func (anything) MatchString(string) bool { return true }
func (a anything) String() string        { return string(a) }

// schemaError says what is wrong with a schema, without the library's own file names.
func schemaError(err error) error {
	var load *jsonschema.LoadURLError
	if errors.As(err, &load) {
		return fmt.Errorf("%q: %w", load.URL, load.Err)
	}
	var bad *jsonschema.SchemaValidationError
	if errors.As(err, &bad) {
		var ve *jsonschema.ValidationError
		if errors.As(bad.Err, &ve) {
			var out []string
			leaves(ve, func(l *jsonschema.ValidationError) {
				out = append(out, fmt.Sprintf("at /%s: %s", strings.Join(l.InstanceLocation, "/"), schemaFault(l)))
			})
			slices.Sort(out)
			return fmt.Errorf("not a JSON Schema: %s", joinSome(out))
		}
	}
	return errors.New(strings.ReplaceAll(err.Error(), schemaAddress, ""))
}

// schemaFault words what the meta-schema says of a place in a schema.
func schemaFault(l *jsonschema.ValidationError) string {
	if at := l.InstanceLocation; len(at) > 0 && at[len(at)-1] == "type" {
		return "must be one of array, boolean, integer, null, number, object and string, or a list of them"
	}
	return l.ErrorKind.LocalizedString(english)
}

var english = message.NewPrinter(language.English)

// validate checks an instance of the given depth and size (in bytes of JSON) and gives what is wrong, one per fault.
func (s *schema) validate(v any, depth, size int) (faults []string) {
	if s.cost[min(depth, len(s.cost)-1)] > maxEvaluations/max(1, size/2) {
		return []string{"the arguments are nested too deeply or too large for their schema"}
	}
	defer func() {
		if p := recover(); p != nil {
			faults = []string{"the arguments cannot be validated"}
		}
	}()
	err := s.root.Validate(v)
	if err == nil {
		return nil
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return []string{"the arguments cannot be validated"}
	}
	leaves(ve, func(l *jsonschema.ValidationError) { faults = append(faults, describe(l)...) })
	slices.Sort(faults) // the library walks maps
	return faults
}

// leaves visits the errors that say something: of an anyOf or oneOf the choice itself, else the innermost.
func leaves(e *jsonschema.ValidationError, visit func(*jsonschema.ValidationError)) {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains:
		visit(e)
		return
	}
	if len(e.Causes) == 0 {
		visit(e)
		return
	}
	for _, c := range e.Causes {
		leaves(c, visit)
	}
}

// describe words one fault so that whoever called (often a model) can mend it: it names the argument.
func describe(e *jsonschema.ValidationError) []string {
	at := e.InstanceLocation
	var out []string
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			out = append(out, place(append(at[:len(at):len(at)], name))+" is required")
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			out = append(out, place(append(at[:len(at):len(at)], name))+" is not known")
		}
	case *kind.Type:
		out = append(out, fmt.Sprintf("%s must be %s, not %s", place(at), strings.Join(k.Want, " or "), k.Got))
	case *kind.Enum, *kind.Const:
		out = append(out, place(at)+" "+strings.TrimPrefix(e.ErrorKind.LocalizedString(english), "value "))
	case *kind.AnyOf, *kind.OneOf:
		out = append(out, place(at)+" fits none of the forms that its schema allows, or more than one")
	default:
		out = append(out, place(at)+": "+e.ErrorKind.LocalizedString(english))
	}
	return out
}

// place names an argument and, below it, the JSON pointer.
func place(at []string) string {
	if len(at) == 0 {
		return "the arguments"
	}
	s := "argument " + strconv.Quote(at[0])
	if len(at) > 1 {
		s += " at /" + strings.Join(at[1:], "/")
	}
	return s
}

// joinSome joins messages, the first few of them: a reader mends those and asks again.
func joinSome(list []string) string {
	const some = 5
	if len(list) > some {
		return strings.Join(list[:some], "; ") + fmt.Sprintf("; and %d more", len(list)-some)
	}
	return strings.Join(list, "; ")
}

// property gives the schema of one argument, and propertyTypes what types it allows; nil where that is not said.
func (c *toolCompiler) property(name string) *jsonschema.Schema {
	if c.input == nil {
		return nil
	}
	return c.input.root.Properties[name]
}

func (c *toolCompiler) propertyTypes(name string) []string {
	for p, hops := c.property(name), 0; p != nil && hops < 10; p, hops = p.Ref, hops+1 {
		if p.Types != nil {
			return p.Types.ToStrings()
		}
	}
	return nil
}
