package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
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
	root    *jsonschema.Schema
	size    schemaSize
	cost    []int // evaluations per instance node, by the instance's depth; the last entry goes for anything deeper
	program int   // the largest that one string or name is matched against
	dynamic bool  // which schema applies may depend on the way to it
}

// schemaAddress is what a schema without $id is called inside the library; it is cut out of messages.
const schemaAddress = "schema:input"

// compileSchema compiles JSON Schema text: 2020-12 unless $schema says otherwise (draft-04 to 2020-12 are known).
// Patterns that RE2 cannot express are not enforced; they come back as warnings. Nothing is ever fetched. What it takes
// in time and memory is bounded, and so is what the schema takes: see schemabounds.go.
func compileSchema(raw []byte) (s *schema, warnings []string, err error) {
	return compileSchemaWithin(raw, new(schemaSize))
}

// compileSchemaWithin is compileSchema for one of a service's schemas. What has been worked on, whether or not it was
// accepted, adds to spent, which is bounded too.
func compileSchemaWithin(raw []byte, spent *schemaSize) (s *schema, warnings []string, err error) {
	defer func() {
		// The library panics on some malformed documents; a publisher's typo must not end the process.
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("compile schema: %v", p)
		}
	}()
	if len(raw) > maxSchemaBytes {
		return nil, nil, fmt.Errorf("schema of %d bytes: at most %d are accepted", len(raw), maxSchemaBytes)
	}
	doc, err := parseValue(raw, true)
	if err != nil {
		return nil, nil, fmt.Errorf("read schema: %w", err)
	}
	s = new(schema)
	if s.size.subschemas, err = measureSchema(doc); err != nil {
		return nil, nil, fmt.Errorf("schema %w", err)
	}
	if spent.subschemas += s.size.subschemas; !spent.fits() {
		return nil, nil, errServiceSchemas
	}
	patterns := patternSet{size: &s.size, known: map[string]*pattern{}}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(patterns.engine)
	if err := c.AddResource(schemaAddress, doc); err != nil {
		return nil, nil, fmt.Errorf("read schema: %w", err)
	}
	s.root, err = c.Compile(schemaAddress)
	patterns.known = nil
	spent.program += s.size.program
	spent.ranges += s.size.ranges
	if patterns.err != nil {
		return nil, nil, patterns.err
	}
	if err != nil {
		return nil, nil, schemaError(err)
	}
	if err := s.measure(); err != nil {
		return nil, nil, err
	}
	if !spent.fits() {
		return nil, nil, errServiceSchemas
	}
	return s, patterns.warnings, nil
}

// patternSet makes the patterns of one schema.
type patternSet struct {
	size     *schemaSize
	known    map[string]*pattern // nil once the schema is compiled
	warnings []string
	err      error // a bound that was exceeded
}

// engine is what the library calls for each pattern, and again when it validates the schema against its metaschema. After
// that only "format": "regex" leads here, with an argument for the pattern; ECMA's grammar is not ours to judge.
func (p *patternSet) engine(source string) (jsonschema.Regexp, error) {
	if p.known == nil {
		return nil, nil
	}
	if known := p.known[source]; known != nil || p.err != nil {
		return known, p.err
	}
	const maxWarnings = 20
	made, err := newPattern(source)
	p.known[source] = made
	p.size.program += made.program
	p.size.ranges += made.ranges
	var large sizeError
	switch {
	case errors.As(err, &large):
		p.err = err
	case p.size.program > maxSchemaProgram || p.size.ranges > maxRanges:
		p.err = sizeError("schema's patterns are too large together")
	case err != nil && len(p.warnings) < maxWarnings:
		p.warnings = append(p.warnings, fmt.Sprintf("pattern %s is not enforced: %v", inQuotes(source), shortened(err.Error(), maxQuoted)))
	}
	return made, p.err
}

// noLoader refuses every reference that leaves the document: a schema must not make the proxy fetch anything.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("references outside the document are not followed")
}

// schemaError says what is wrong with a schema, without the library's own file names.
func schemaError(err error) error {
	var load *jsonschema.LoadURLError
	if errors.As(err, &load) {
		return fmt.Errorf("%s: %w", inQuotes(load.URL), load.Err)
	}
	var bad *jsonschema.SchemaValidationError
	if errors.As(err, &bad) {
		var ve *jsonschema.ValidationError
		if errors.As(bad.Err, &ve) {
			var out []string
			leaves(ve, func(l *jsonschema.ValidationError) {
				out = append(out, fmt.Sprintf("at /%s: %s", shortened(strings.Join(l.InstanceLocation, "/"), maxQuoted), schemaFault(l)))
			})
			slices.Sort(out)
			return fmt.Errorf("not a JSON Schema: %s", joinSome(out))
		}
	}
	return errors.New(shortened(strings.ReplaceAll(err.Error(), schemaAddress, ""), 4*maxQuoted))
}

// schemaFault words what the meta-schema says of a place in a schema.
func schemaFault(l *jsonschema.ValidationError) string {
	if at := l.InstanceLocation; len(at) > 0 && at[len(at)-1] == "type" {
		return "must be one of array, boolean, integer, null, number, object and string, or a list of them"
	}
	return shortened(l.ErrorKind.LocalizedString(english), maxQuoted)
}

var english = message.NewPrinter(language.English)

const (
	// maxEvaluations bounds one validation, in evaluations of a subschema (about 0.3 µs) or as much work: nested anyOf
	// below a recursive $ref doubles with every level of the instance.
	maxEvaluations = 2_000_000
	// fewEvaluations is up to where a bound from the size alone will do, and maxDescribed up to where faults are
	// described: each takes about 400 bytes.
	fewEvaluations = 50_000
	maxDescribed   = 100_000
)

// validate checks an instance of the given depth and size (in bytes of JSON) and returns what is wrong, one per fault.
func (s *schema) validate(v any, depth, size int) (faults []string) {
	defer func() {
		if p := recover(); p != nil {
			faults = []string{"the arguments cannot be validated"}
		}
	}()
	n := s.bound(depth, size)
	if n > fewEvaluations && !s.dynamic {
		n = s.evaluations(v)
	}
	if n > maxEvaluations {
		return []string{"the arguments are nested too deeply or too large for their schema and its patterns"}
	}
	if n > maxDescribed {
		return s.validateLarge(v)
	}
	err := s.root.Validate(v)
	if err == nil {
		return nil
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return []string{"the arguments cannot be validated"}
	}
	return describeAll(ve)
}

// validateLarge checks a large instance without keeping what is wrong with each of its parts.
func (s *schema) validateLarge(v any) []string {
	// Below a "not" the library asks for yes or no only.
	not := jsonschema.Schema{DraftVersion: s.root.DraftVersion, Location: s.root.Location, Not: s.root}
	if not.Validate(v) != nil {
		return nil
	}
	return []string{"the arguments do not fit their schema, and are too large to say where"}
}

const (
	maxFaults     = 50  // that are worded
	maxFaultNames = 10  // of a fault that names several properties
	maxFaultBytes = 400 // of one
)

// describeAll words what is wrong, the first faults by their place if there are very many.
func describeAll(e *jsonschema.ValidationError) (faults []string) {
	var all []*jsonschema.ValidationError
	leaves(e, func(l *jsonschema.ValidationError) { all = append(all, l) })
	if len(all) > maxFaults {
		slices.SortStableFunc(all, func(a, b *jsonschema.ValidationError) int {
			return slices.Compare(a.InstanceLocation, b.InstanceLocation)
		})
		all = all[:maxFaults]
	}
	for _, l := range all {
		faults = append(faults, describe(l)...)
	}
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

// worded is a value as the library is to print it: it has no word for null.
func worded(v any) any {
	if v == nil {
		return json.Number("null")
	}
	return v
}

// describe words one fault so that whoever called (often a model) can mend it: it names the argument.
func describe(e *jsonschema.ValidationError) (out []string) {
	at := e.InstanceLocation
	each := func(names []string, what string) {
		names = slices.Sorted(slices.Values(names)) // the library walks maps
		for _, name := range names[:min(len(names), maxFaultNames)] {
			out = append(out, place(append(at[:len(at):len(at)], name))+what)
		}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		each(k.Missing, " is required")
	case *kind.AdditionalProperties:
		each(k.Properties, " is not known")
	case *kind.Type:
		out = append(out, fmt.Sprintf("%s must be %s, not %s", place(at), strings.Join(k.Want, " or "), k.Got))
	case *kind.Enum:
		some := *k
		some.Want = slices.Clone(k.Want[:min(len(k.Want), maxEnumShown)])
		for i, v := range some.Want {
			some.Want[i] = worded(v)
		}
		what := strings.TrimPrefix(some.LocalizedString(english), "value ")
		if more := len(k.Want) - len(some.Want); more > 0 {
			what += fmt.Sprintf(" or one of %d others", more)
		}
		out = append(out, place(at)+" "+what)
	case *kind.Const:
		out = append(out, place(at)+" "+strings.TrimPrefix((&kind.Const{Got: k.Got, Want: worded(k.Want)}).LocalizedString(english), "value "))
	case *kind.AnyOf, *kind.OneOf:
		out = append(out, place(at)+" fits none of the forms that its schema allows, or more than one")
	case *kind.Pattern:
		some := kind.Pattern{Got: shortened(k.Got, maxQuoted), Want: shortened(k.Want, maxQuoted)}
		out = append(out, place(at)+": "+some.LocalizedString(english))
	case *kind.Minimum:
		out = append(out, place(at)+" must be at least "+decimal(k.Want))
	case *kind.Maximum:
		out = append(out, place(at)+" must be at most "+decimal(k.Want))
	case *kind.ExclusiveMinimum:
		out = append(out, place(at)+" must be more than "+decimal(k.Want))
	case *kind.ExclusiveMaximum:
		out = append(out, place(at)+" must be less than "+decimal(k.Want))
	case *kind.MultipleOf:
		out = append(out, place(at)+" must be a multiple of "+decimal(k.Want))
	case *kind.MinLength:
		out = append(out, fmt.Sprintf("%s must have at least %d characters, not %d", place(at), k.Want, k.Got))
	case *kind.MaxLength:
		out = append(out, fmt.Sprintf("%s must have at most %d characters, not %d", place(at), k.Want, k.Got))
	case *kind.MinItems:
		out = append(out, fmt.Sprintf("%s must have at least %d elements, not %d", place(at), k.Want, k.Got))
	case *kind.MaxItems:
		out = append(out, fmt.Sprintf("%s must have at most %d elements, not %d", place(at), k.Want, k.Got))
	case *kind.Format:
		if text, ok := k.Got.(string); ok {
			k = &kind.Format{Got: shortened(text, maxQuoted), Want: k.Want, Err: k.Err}
		}
		out = append(out, place(at)+": "+k.LocalizedString(english))
	default:
		out = append(out, place(at)+": "+e.ErrorKind.LocalizedString(english))
	}
	for i := range out {
		out[i] = shortened(out[i], maxFaultBytes)
	}
	return out
}

const maxEnumShown = 50

// decimal returns a bound of a schema as its author may have written it: the library's own words have "5,000".
func decimal(n *big.Rat) string {
	if n.IsInt() {
		return n.Num().String()
	}
	f, _ := n.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// place names an argument and, below it, the JSON pointer.
func place(at []string) string {
	if len(at) == 0 {
		return "the arguments"
	}
	s := "argument " + inQuotes(at[0])
	if len(at) > 1 {
		s += " at /" + shortened(strings.Join(at[1:], "/"), maxQuoted)
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
