package openapi

import (
	"fmt"
	"mime"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// tool is an operation on its way to becoming one.
type tool struct {
	operation   string // "GET /pets/{id}", for findings
	name, title string
	description string
	method      string
	base        string // absolute URL, where the operation has a server of its own
	path        string // {name} where an argument goes, or a template
	query       []pair
	headers     [][2]string // key and template
	body        string      // template; empty: made from the arguments whose position is body
	args        []*argument
	security    string // id of a scheme
	output      *node
	notes       []string
	renamed     []string // "城市 is arg"

	carried map[string]bool // "in name" of parameters that carry a credential, or are taken
}

// argument is one argument of a tool.
type argument struct {
	name     string
	position string // path, query, header, cookie or body; empty where a template takes it
	schema   *node
	required bool
	wire     string // its name in the request
	style    style  // how it is written in a query or form
	explode  bool   // an array as name=a&name=b, where position is enough to say so
	multi    bool   // a path whose "/" stay
}

var methods = []string{"get", "put", "post", "delete", "options", "head", "patch"}

// errSkip says why an operation cannot be converted.
type errSkip string

func (e errSkip) Error() string { return string(e) }

func (im *importer) operations() error {
	paths, err := im.child(im.root, "paths")
	if err != nil {
		return err
	}
	for path, item := range paths.fields() {
		if strings.HasPrefix(path, "x-") {
			continue
		}
		taken := map[string]bool{}
		if err := im.pathItem(path, item, taken); err != nil {
			return err
		}
		for _, earlier := range slices.Backward(paths.again[path]) {
			if err := im.pathItem(path, place{earlier, item.doc}, taken); err != nil {
				return err
			}
		}
		if len(paths.again[path]) > 0 {
			im.note("", clean(path, maxTitle)+" is given more than once: all of its operations are taken, the last one where they have the same method")
		}
	}
	return nil
}

// pathItem converts the operations of a Path Item Object, but for those whose methods are taken, which it adds to.
func (im *importer) pathItem(path string, item place, taken map[string]bool) error {
	if item.missing() {
		return nil
	}
	item, err := im.sources.follow(item)
	if err == nil && !item.is(object) {
		err = errSkip("it is not an object")
	}
	if err != nil {
		im.result.Skipped = append(im.result.Skipped, Finding{path, err.Error()})
		return nil
	}
	for method, op := range item.fields() {
		switch {
		case taken[method]:
			continue
		case slices.Contains(methods, method):
		case method == "trace" || method == "query":
			op := strings.ToUpper(method) + " " + path
			im.result.Found++
			im.result.Skipped = append(im.result.Skipped, Finding{op, "calls with this method are not supported"})
			continue
		default:
			continue
		}
		taken[method] = true
		if len(item.again[method]) > 0 {
			im.note(strings.ToUpper(method)+" "+path, "it is given more than once: the last one is taken")
		}
		if err := im.ctx.Err(); err != nil {
			return err
		}
		if err := im.operation(method, path, op, item); err != nil {
			return err
		}
	}
	return nil
}

// operation converts one operation, if it is selected, or says why it cannot be.
func (im *importer) operation(method, path string, op, item place) error {
	t := &tool{operation: strings.ToUpper(method) + " " + path, method: strings.ToUpper(method), carried: map[string]bool{}}
	// Descriptions in several files have references where the specification knows none, here for one.
	op, broken := im.sources.follow(op)
	id := op.get("operationId").str()
	t.name = toolName(id, method, path)
	if !im.selected(t, id, path, op) {
		return nil
	}
	if im.result.Found++; im.result.Found > maxTools {
		return fmt.Errorf("more than %d operations: select some with include", maxTools)
	}
	err := broken
	if err == nil {
		err = im.fill(t, path, op, item)
	}
	if im.work < 0 {
		return errTooMuch
	}
	if im.made*nodeSize > maxDocument {
		return errTooLarge
	}
	if err != nil {
		im.result.Skipped = append(im.result.Skipped, Finding{t.operation, err.Error()})
		return nil
	}
	if len(t.renamed) > 0 {
		t.notes = append(t.notes, "some arguments have plainer names than what they are sent as: "+strings.Join(t.renamed, ", "))
	}
	t.name = im.unique(t.name)
	for _, n := range t.notes {
		im.note(t.operation, n)
	}
	im.tools = append(im.tools, t)
	im.result.Tools = append(im.result.Tools, t.name)
	return nil
}

func (im *importer) fill(t *tool, path string, op, item place) error {
	if !op.is(object) {
		return errSkip("it is not an object")
	}
	describe(t, op)
	if strings.Contains(path, "{{") || strings.ContainsFunc(path, unicode.IsControl) {
		return errSkip("its path holds {{ or control characters")
	}
	if err := im.secure(t, op); err != nil {
		return err
	}
	im.server(t, op, item)
	params, err := im.parameters(op, item)
	if err != nil {
		return err
	}
	t.path = cleanPath(path)
	for _, p := range params {
		if err := im.parameter(t, p); err != nil {
			return err
		}
	}
	im.placeholders(t)
	if im.swagger {
		err = im.swaggerBody(t, op, params)
	} else {
		err = im.requestBody(t, op.at("requestBody"))
	}
	if err != nil {
		return err
	}
	im.accept(t, op)
	if im.detail.outputs && !im.options.NoOutputSchemas {
		im.output(t, op)
	}
	return nil
}

// accept asks for the media type that the result is taken for: backends that offer several answer with another one where
// nobody asks.
func (im *importer) accept(t *tool, op place) {
	var types []string
	if im.swagger {
		if op.at("produces").node != nil || im.root.at("produces").node != nil {
			types = im.mediaTypes("produces", op)
		}
	} else if responses, err := im.child(op, "responses"); err == nil {
		for status, r := range responses.fields() {
			if !strings.HasPrefix(status, "2") {
				continue
			}
			if r, err = im.sources.follow(r); err != nil {
				continue
			}
			if content, err := im.child(r, "content"); err == nil {
				for name := range content.fields() {
					types = append(types, name)
				}
			}
		}
	}
	types = slices.DeleteFunc(types, func(m string) bool {
		_, _, err := mime.ParseMediaType(m)
		return err != nil || strings.ContainsAny(m, "*{}$") || strings.ContainsFunc(m, unicode.IsControl)
	})
	if len(types) == 0 {
		return
	}
	chosen := preferred(types)
	if !strings.Contains(chosen, "=") || strings.Contains(strings.ToLower(chosen), "charset=") {
		chosen = mediaType(chosen)
	}
	t.headers = append([][2]string{{"Accept", chosen}}, t.headers...)
}

// describe takes over what people wrote.
func describe(t *tool, op place) {
	summary, description := clean(op.get("summary").str(), maxDescription), clean(op.get("description").str(), maxDescription)
	switch {
	case description == "":
		t.description = summary
	case summary == "" || strings.HasPrefix(description, strings.TrimRight(summary, ".")):
		t.description = description
	case len([]rune(summary)) <= maxTitle && !strings.Contains(summary, "\n"):
		t.title, t.description = strings.TrimRight(summary, "."), description
	default:
		t.description = clean(summary+"\n\n"+description, maxDescription)
	}
	if t.description == "" {
		t.description = t.operation
	}
	if op.get("deprecated").isTrue() {
		t.description = "Deprecated. " + t.description
	}
}

// server notes a server of the operation's or the path's own, unless the caller chose one for all.
func (im *importer) server(t *tool, op, item place) {
	if im.swagger || im.options.UpstreamURL != "" {
		return
	}
	servers := op.at("servers").each()
	if len(servers) == 0 {
		servers = item.at("servers").each()
	}
	for _, s := range servers {
		if base := im.absolute(im.serverURL(s)); base != "" {
			if base != im.upstream {
				t.base = base
				t.notes = append(t.notes, "it is sent to a server of its own, "+base)
			}
			return
		}
	}
}

// parameters gives an operation's parameters: its own before those of the path with the same name and place.
func (im *importer) parameters(op, item place) ([]place, error) {
	var list []place
	seen := map[string]bool{}
	for _, from := range []place{op, item} {
		params, err := im.child(from, "parameters")
		if err != nil {
			return nil, errSkip("parameters: " + err.Error())
		}
		for _, p := range params.each() {
			p, err := im.sources.follow(p)
			if err != nil {
				return nil, errSkip("parameter: " + err.Error())
			}
			key := p.get("in").str() + " " + p.get("name").str()
			if im.work--; !seen[key] && im.work > 0 {
				seen[key] = true
				list = append(list, p)
			}
		}
	}
	return list, nil
}

var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

// cleanPath leaves out what is not part of a path: fragments, which some use to tell operations apart, and the query
// part of a URI template.
func cleanPath(path string) string {
	path, _, _ = strings.Cut(path, "#")
	if i := strings.Index(path, "{?"); i >= 0 {
		path = path[:i]
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path
}

// placeholders makes arguments of the {names} in the path that no parameter describes. Those that are
// described are marked in t.carried.
func (im *importer) placeholders(t *tool) {
	t.path = placeholder.ReplaceAllStringFunc(t.path, func(found string) string {
		name := found[1 : len(found)-1]
		if strings.HasPrefix(name, "{") || slices.ContainsFunc(t.args, func(a *argument) bool { return a.position == "path" && a.name == name }) {
			return found
		}
		a := t.argument(name, "path", newObject().set("type", newText("string")), true)
		t.notes = append(t.notes, fmt.Sprintf("the description leaves out the path parameter %s; it is taken for text", name))
		return "{" + a.name + "}"
	})
	// Templates stand in for placeholders until here, so that their braces are not taken for one.
	t.path = strings.NewReplacer(openMark, "{{", shutMark, "}}").Replace(t.path)
}

const (
	openMark = "\x01"
	shutMark = "\x02"
)

// argument adds an argument under a name that is its own and that every client takes.
func (t *tool) argument(wire, position string, schema *node, required bool) *argument {
	name := argName(wire)
	taken := func() bool { return slices.ContainsFunc(t.args, func(a *argument) bool { return a.name == name }) }
	if taken() && name == wire {
		name = argName(position + "_" + wire)
	}
	for i := 2; taken(); i++ {
		name = shorten(fmt.Sprintf("%s_%d", argName(wire), i), maxName)
	}
	tellDefaults(schema)
	if name != wire && position != "" {
		// The plainer name may have lost what it means: "<" and ">", or all of 城市.
		shown := clean(wire, maxTitle)
		sentence(schema, "Sent as "+newText(shown).quoted()+map[string]string{"query": " in the query", "header": " in the header", "cookie": " in a cookie", "path": " in the path"}[position])
		t.renamed = append(t.renamed, shown+" is "+name)
	}
	a := &argument{name: name, position: position, wire: wire, schema: schema, required: required}
	t.args = append(t.args, a)
	return a
}

// output takes the schema of the result, if every successful answer is a JSON object of that schema: a tool with
// an output schema must keep to it.
func (im *importer) output(t *tool, op place) {
	var found *node
	responses, err := im.child(op, "responses")
	if err != nil {
		t.notes = append(t.notes, "the result is not described: "+err.Error())
		return
	}
	for status, r := range responses.fields() {
		if !strings.HasPrefix(status, "2") {
			continue
		}
		r, err := im.sources.follow(r)
		if err != nil {
			t.notes = append(t.notes, "the result is not described: "+err.Error())
			return
		}
		schema := im.responseSchema(r, op)
		if schema.node == nil {
			return
		}
		n, err := im.schema(schema, response)
		if err != nil {
			t.notes = append(t.notes, "the result is not described: "+err.Error())
			return
		}
		if n == nil || n.get("type").str() != "object" || found != nil && !equal(found, n) {
			return
		}
		found = n
	}
	if found != nil && len(found.keys) > 1 {
		t.output = found
	}
}

// responseSchema gives the schema of a JSON answer; nothing where the answer may be something else.
func (im *importer) responseSchema(r, op place) place {
	if im.swagger {
		for _, m := range im.mediaTypes("produces", op) {
			if isJSON(m) {
				return r.at("schema")
			}
		}
		return place{}
	}
	content, err := im.child(r, "content")
	if err != nil {
		return place{}
	}
	for name, media := range content.fields() {
		if isJSON(name) {
			if media, err = im.sources.follow(media); err == nil {
				return media.at("schema")
			}
		}
	}
	return place{}
}

// child gives the value of a key, references followed.
func (im *importer) child(p place, key string) (place, error) {
	return im.sources.follow(p.at(key))
}
