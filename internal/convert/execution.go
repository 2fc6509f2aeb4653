package convert

import (
	"errors"
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
	seen  []string       // those credentials, to be masked when the request is shown
	path  []byte         // room for the URL's, like query
	query []byte
}

// execute runs a template over the request's data.
func (x *execution) execute(t *template.Template, dst []byte) ([]byte, error) {
	if !x.data.Exists() {
		config, err := x.tool.data.value(x.tool.configRefs, x.secret)
		if err != nil {
			return dst, err
		}
		args, err := template.ParseJSON(x.args.appendJSON(nil, x.tool))
		if err != nil {
			return dst, err
		}
		x.data = template.Object(template.Member{Name: "config", Value: config}, template.Member{Name: "args", Value: args.Tainted()})
	}
	return t.Execute(dst, x.data, template.Env{ClientIP: x.call.ClientIP, Secret: x.reference}, x.tool.budget)
}

// reference resolves ${…} of a template. What comes from elsewhere is escaped like an argument; a nacos document that
// holds JSON can be walked into.
func (x *execution) reference(ref string) (template.Value, error) {
	s, err := x.secret(ref)
	if err != nil {
		return template.Value{}, err
	}
	if strings.HasPrefix(ref, "nacos.") && strings.HasPrefix(s, "{") {
		if v, err := template.ParseJSON([]byte(s)); err == nil {
			x.see(v)
			return v.Tainted(), nil
		}
	}
	return template.String(s).Tainted(), nil
}

// see notes the strings in a credential document.
func (x *execution) see(v template.Value) {
	for _, part := range v.Members {
		if part.Kind() == template.KindObject {
			x.see(part)
		} else {
			x.seen = append(x.seen, part.Text())
		}
	}
}

var errNoSecrets = errors.New("credential references cannot be resolved here")

// secret resolves a reference and notes where it may go.
func (x *execution) secret(ref string) (string, error) {
	if x.tool.secrets == nil {
		return "", &secretError{ref, errNoSecrets}
	}
	secret, err := x.tool.secrets.Lookup(x.tool.service, ref)
	if err != nil {
		return "", &secretError{ref, err}
	}
	if len(secret.Hosts) > 0 {
		x.hosts = append(x.hosts, secret.Hosts)
	}
	x.seen = append(x.seen, secret.Value)
	return strings.TrimSpace(secret.Value), nil
}

// secretError is a credential that cannot be had: the caller is not told which.
type secretError struct {
	ref   string
	cause error
}

func (e *secretError) Error() string { return "resolve ${" + e.ref + "}: " + e.cause.Error() }
func (e *secretError) Unwrap() error { return e.cause }

// callerFault words what the caller should know of an error: invalid arguments, and templates that fail with them.
func callerFault(err error) (string, bool) {
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
	case errors.As(err, &failed):
		return templateFailed(err), true
	}
	return "", false
}
