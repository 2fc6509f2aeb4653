package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

// previewed is what `call --dry-run` says in JSON.
type previewed struct {
	Service string          `json:"service"`
	Tool    string          `json:"tool"`
	Backend string          `json:"backend,omitempty"`
	Request string          `json:"request,omitempty"` // HTTP text, credentials masked
	Result  json.RawMessage `json:"result,omitempty"`  // where nothing would be sent
}

// previewCall shows the HTTP request of a call, made by the code that the proxy makes it with.
func (p *program) previewCall(cmd *cobra.Command, in calling) error {
	s, err := p.surveyServices(cmd)
	if err != nil {
		return err
	}
	defer s.Close()
	compiled, err := s.compiled(in)
	if err != nil {
		return err
	}
	defer compiled.Release()
	tool := compiled.Service.Tools[in.tool]
	if tool == nil {
		for _, f := range s.findings() {
			if f.Tool == in.tool && !f.Warning {
				p.note("%s", f)
			}
		}
		var names []string
		for _, t := range compiled.Service.Order {
			names = append(names, t.Name)
		}
		return noTool(in, names, "can be called")
	}
	var entry struct{ InputSchema any }
	if err := json.Unmarshal(tool.Entry, &entry); err != nil {
		return fmt.Errorf("read schema of %s: %w", in.tool, err)
	}
	arguments, err := p.arguments(entry.InputSchema, in)
	if err != nil {
		return err
	}
	header, err := in.header()
	if err != nil {
		return err
	}
	request, result, err := tool.Request(convert.Call{Arguments: arguments, Header: header})
	if err != nil {
		return fail(exitFailed, "the call would fail before the backend is reached: %w", err)
	}
	out := previewed{Service: in.service, Tool: in.tool, Result: result}
	if request != nil {
		base, note := backendBase(compiled.Definition.Backend)
		out.Backend = note
		out.Request = request.Preview(base)
	}
	return p.sayPreview(out)
}

func (p *program) sayPreview(out previewed) error {
	var r struct {
		Content []struct{ Text string }
		IsError bool
	}
	if err := p.print(out, func() {
		if out.Request != "" {
			p.say("%s", trimNewline(out.Request))
			if out.Backend != "" {
				p.note("The backend is %s.", out.Backend)
			}
		}
	}); err != nil {
		return err
	}
	if out.Request != "" {
		return nil
	}
	if err := json.Unmarshal(out.Result, &r); err != nil {
		return err
	}
	p.note("Nothing would be sent. The result:")
	for _, c := range r.Content {
		p.say("%s", c.Text)
	}
	if r.IsError {
		return errReported
	}
	return nil
}

// compiled gives the service ready for calls; Release it.
func (s *survey) compiled(in calling) (*catalog.Compiled, error) {
	name, version, _ := strings.Cut(in.service, "@")
	service := s.Index().Service(name)
	if service == nil {
		var names []string
		for n := range s.Index().Services() {
			names = append(names, n)
		}
		hint := spelling.DidYouMean(name, names)
		return nil, fail(exitNotFound, "there is no service %q%s; see services list, and check for rejected documents", name, hint)
	}
	if service.NotServed != "" {
		return nil, fail(exitFailed, "%s is not served: %s", name, service.NotServed)
	}
	variant := service.Variant(version)
	switch {
	case variant == nil:
		return nil, fail(exitNotFound, "%s has no version %q that its grants document lists", name, version)
	case !variant.Kind.Converted():
		return nil, fail(exitFailed, "%s is passed through to an MCP server: the proxy makes no HTTP request of its own there", name)
	}
	compiled, err := s.Compiled(variant)
	if err == nil && compiled.Service == nil {
		err = errors.New("it has no tools")
	}
	return compiled, err
}

// backendBase is what stands before the path of a request, and what to say of a backend that has no fixed address.
func backendBase(b registry.Backend) (base, note string) {
	if b.Ref == nil {
		return b.URL, ""
	}
	return b.Ref.SchemeAt(0) + "://{instance}", fmt.Sprintf("an instance of the Nacos service %s/%s", b.Ref.Group, b.Ref.Service)
}
