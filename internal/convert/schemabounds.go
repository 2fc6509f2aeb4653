package convert

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a schema, held before the schema library sees it: that takes a kilobyte and more for each subschema, looks
// through all of them for each, and keeps the whole path of each as text.
const (
	maxSchemaBytes   = 1 << 20
	maxSchemaValues  = 50_000  // JSON values of any kind
	maxSubschemas    = 5_000   // values that may be schemas: objects and booleans
	maxToolsSchemas  = 60_000  // and of all tools of a service
	maxSchemaPaths   = 4 << 20 // bytes of all their JSON pointers
	maxSchemaIDs     = 100     // $id: each is compared with each subschema
	maxSchemaRefs    = 1_000   // different $ref: one that leads outside the known keywords copies what is known by then
	maxEnumOfObjects = 1_000   // elements of a list that holds objects or arrays: draft-04 to 07 want them to be unique
)

// schemaSize is what a schema takes.
type schemaSize struct {
	subschemas int
	program    int // instructions of regular expressions
	ranges     int // bounds of character classes

	evaluations int // of a service: what holding its defaults against their schemas takes
}

// errServiceSchemas says that a tool's schemas do not fit in what the schemas of one service may take.
var errServiceSchemas = errors.New("the schemas of this service's tools are too large together, so that this tool is left out: divide the service, or simplify its schemas")

// fits reports whether a service's schemas take no more than they may.
func (s *schemaSize) fits() bool {
	return s.evaluations <= maxEvaluations && s.subschemas <= maxToolsSchemas && s.program <= maxToolsProgram && s.ranges <= 4*maxRanges
}

// schemaScan measures the JSON of a schema.
type schemaScan struct {
	values, subschemas, paths, ids int
	refs                           map[string]bool
	dynamic                        bool // it says where $dynamicRef or $recursiveRef of others may lead
	outside                        bool // it refers to other resources: of its own, or to a metaschema
	err                            error
}

// measureSchema reports how many subschemas a schema may have, or what about it is beyond the bounds.
func measureSchema(doc any) (subschemas int, err error) {
	s := schemaScan{refs: map[string]bool{}}
	s.value(doc, 0)
	switch {
	case s.err != nil:
		return 0, s.err
	case s.ids > maxSchemaIDs:
		return 0, fmt.Errorf("has %d $id: at most %d are accepted", s.ids, maxSchemaIDs)
	case len(s.refs) > maxSchemaRefs:
		return 0, fmt.Errorf("has %d different $ref: at most %d are accepted", len(s.refs), maxSchemaRefs)
	case s.dynamic && s.outside:
		return 0, errors.New("has $dynamicAnchor or $recursiveAnchor beside other resources ($id or $ref to one): what their references cost cannot be known")
	}
	return s.subschemas, nil
}

// value counts v, whose JSON pointer has this many bytes.
func (s *schemaScan) value(v any, path int) {
	if s.values++; s.values > maxSchemaValues {
		s.fail("has more than %d values", maxSchemaValues)
	}
	if s.err != nil {
		return
	}
	switch v := v.(type) {
	case bool:
		s.subschema(path)
	case map[string]any:
		s.subschema(path)
		for name, member := range v {
			s.keyword(name, member, path == 0)
			s.value(member, path+1+len(name)+strings.Count(name, "/"))
		}
	case []any:
		nested := false
		for _, e := range v {
			switch e.(type) {
			case []any, map[string]any:
				nested = true
			}
			s.value(e, path+5)
		}
		if nested && len(v) > maxEnumOfObjects {
			s.fail("has a list of %d objects or arrays: at most %d are accepted", len(v), maxEnumOfObjects)
		}
	}
}

func (s *schemaScan) subschema(path int) {
	if s.subschemas++; s.subschemas > maxSubschemas {
		s.fail("has more than %d subschemas", maxSubschemas)
	}
	if s.paths += path; s.paths > maxSchemaPaths {
		s.fail("has names that are too long for so many subschemas within each other")
	}
}

func (s *schemaScan) keyword(name string, value any, root bool) {
	text, isText := value.(string)
	switch name {
	case "$id", "id":
		if isText && !root {
			s.ids++
			s.outside = s.outside || name == "$id"
		}
	case "$ref":
		if isText {
			s.refs[text] = true
			s.outside = s.outside || !strings.HasPrefix(text, "#")
		}
	case "$dynamicAnchor":
		s.dynamic = s.dynamic || isText
	case "$recursiveAnchor":
		s.dynamic = s.dynamic || value == true
	}
}

func (s *schemaScan) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// maxQuoted is how much of what somebody wrote a message shows.
const maxQuoted = 120

// inQuotes returns text in quotes for a message, the beginning of it if it is long.
func inQuotes(s string) string { return fmt.Sprintf("%q", shortened(s, maxQuoted)) }

// shortened cuts text that is longer than n bytes.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
