package convert

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert/template"
)

// execution is what one call has worked out so far.
type execution struct {
	tool  *Tool
	call  *Call
	args  *arguments
	data  template.Value // {config, args}, once something needs it
	hosts [][]string     // where the credentials used may go
	seen  []string       // those credentials, to be masked in what is shown to anybody
	own   []string       // the caller's own, to be masked when the request is shown
	asked bool           // some credential was looked up
	known []looked       // what was, each once: printing one again must not read its document again
	trial bool           // nothing is looked up: credentials are "x"
	path  []byte         // room for the URL's, like query
	query []byte
}

// execute runs a template over the request's data.
func (x *execution) execute(t *template.Template, dst []byte) ([]byte, error) {
	if !x.data.Exists() {
		args, err := template.ParseJSON(x.args.appendJSON(nil, x.tool))
		if err != nil {
			return dst, err
		}
		x.data = template.Object(template.Member{Name: "config", Value: x.tool.data.value}, template.Member{Name: "args", Value: args.Tainted()})
	}
	env := template.Env{ClientIP: x.call.ClientIP}
	if x.tool.method != "" { // what a tool without a backend makes goes to the client
		env.Secret = x.reveal
	}
	return t.Execute(dst, x.data, env, x.tool.budget)
}

// reveal resolves a reference that is about to be printed. A nacos document that holds a JSON object can be selected from.
func (x *execution) reveal(ref string, path []string) (v template.Value, inPath bool, err error) {
	if x.trial {
		return template.String("x"), x.mayStandInPath(ref), nil
	}
	secret, err := x.secret(ref)
	if err != nil {
		return template.Value{}, false, err
	}
	v = x.value(ref, secret).Get(path...)
	if v.Kind() == template.KindArray || v.Kind() == template.KindObject {
		x.see(v)
	}
	x.note(v.Text())
	if len(x.seen) > maxSeen {
		return template.Value{}, false, &secretError{ref, errManySecrets}
	}
	return v, secret.Path, nil
}

// value returns what is printed of a secret that was looked up: its text or, of a document, what can be selected from.
func (x *execution) value(ref string, secret Secret) template.Value {
	i := slices.IndexFunc(x.known, func(l looked) bool { return l.ref == ref })
	if i >= 0 && x.known[i].value.Exists() {
		return x.known[i].value
	}
	text := strings.TrimSpace(secret.Value.Reveal())
	v := template.String(text)
	if strings.HasPrefix(ref, "nacos.") && strings.HasPrefix(text, "{") {
		if doc, err := template.ParseJSON([]byte(text)); err == nil {
			v = doc
		}
	}
	if i >= 0 {
		x.known[i].value = v
	}
	return v
}

// looked is a credential that was looked up.
type looked struct {
	ref    string
	secret Secret
	err    error
	value  template.Value // once it was printed
}

// lookUp resolves a reference, once for the whole call, which so uses one version of its document.
func (x *execution) lookUp(ref string) (Secret, error) {
	for i := range x.known {
		if l := &x.known[i]; l.ref == ref {
			return l.secret, l.err
		}
	}
	if len(x.known) >= maxSeen {
		return Secret{}, errManySecrets
	}
	secret, err := x.tool.secrets.Lookup(x.tool.service, ref)
	x.known = append(x.known, looked{ref: ref, secret: secret, err: err})
	return secret, err
}

// maxSeen is how many different credentials one call may use, and how many references to them: what comes back is searched for each of them, in each of
// its spellings.
const maxSeen = 256

var errManySecrets = fmt.Errorf("a call uses more than %d different credentials", maxSeen)

// note notes a credential that was used, once: a template may print one as often as it likes.
func (x *execution) note(text string) {
	if text != "" && len(x.seen) <= maxSeen && !slices.Contains(x.seen, text) {
		x.seen = append(x.seen, text)
	}
}

// see notes the texts in a part of a credential document.
func (x *execution) see(v template.Value) {
	visit := func(part template.Value) {
		switch part.Kind() {
		case template.KindArray, template.KindObject:
			x.see(part)
		case template.KindString, template.KindNumber:
			x.note(part.Text())
		}
	}
	v.Members(func(_ string, part template.Value) bool { visit(part); return true })
	v.Elements(func(_ int, part template.Value) bool { visit(part); return true })
}

// mayStandInPath reports whether a reference may stand in the path of a URL. Where that cannot be known it may: the call
// will tell.
func (x *execution) mayStandInPath(ref string) bool {
	if x.tool.secrets == nil {
		return true
	}
	secret, err := x.lookUp(ref)
	return err != nil || secret.Path
}

var errNoSecrets = errors.New("credential references cannot be resolved here")

// secret resolves a reference and notes where it may go.
func (x *execution) secret(ref string) (Secret, error) {
	x.asked = true
	if x.tool.secrets == nil {
		return Secret{}, &secretError{ref, errNoSecrets}
	}
	secret, err := x.lookUp(ref)
	if err != nil {
		return Secret{}, &secretError{ref, err}
	}
	if len(secret.Hosts) > 0 && !slices.ContainsFunc(x.hosts, func(hosts []string) bool { return slices.Equal(hosts, secret.Hosts) }) {
		x.hosts = append(x.hosts, secret.Hosts)
	}
	return secret, nil
}

// secretError is a credential that cannot be had: the caller is not told which.
type secretError struct {
	ref   string
	cause error
}

func (e *secretError) Error() string { return "resolve ${" + e.ref + "}: " + e.cause.Error() }
func (e *secretError) Unwrap() error { return e.cause }

// callerFault words what the caller should know of an error: invalid arguments, and templates that fail with them. After a
// credential was looked up nothing is told but where a template failed.
func (x *execution) callerFault(err error) (string, bool) {
	var secret *secretError
	var fault *argumentError
	var failed *template.Error
	switch {
	case errors.As(err, &secret):
		return "", false
	case errors.As(err, &fault) && fault.name != "":
		return "invalid arguments: " + fault.Error(), true
	case errors.As(err, &fault):
		return fault.Error(), true
	case errors.As(err, &failed) && x.asked:
		return failedAt(err), true
	case errors.As(err, &failed):
		return templateFailed(err), true
	}
	return "", false
}
