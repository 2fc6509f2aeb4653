package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpguts"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

const (
	envKey = "NMP_KEY"
	envURL = "NMP_URL"
)

// calling is what `call` is told.
type calling struct {
	url, key, args string
	service, tool  string
	values         []string // name=value
	headers        []string // NAME: VALUE
}

// header is what the headers given say. Their values are not shown: they may be credentials.
func (in *calling) header() (http.Header, error) {
	h := http.Header{}
	for _, line := range in.headers {
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fail(exitUsage, "a header given with --header is none: write NAME: VALUE")
		}
		if err := registry.CheckForwardHeader(name); err != nil {
			return nil, fail(exitUsage, "%w", err)
		}
		h.Add(name, value)
	}
	return h, nil
}

func (p *program) callCommand() *cobra.Command {
	var in calling
	cmd := &cobra.Command{
		Use: "call SERVICE TOOL [name=value…]", Short: "Call a tool through a running proxy",
		Long: `Call a tool through a running proxy, as an MCP client does, and print what it answers. A value is text, a number, true
or false, or JSON, whichever the tool's schema wants of the argument; a list may be given as name=one name=two. Exits 1
if the result is an error.

The key is NMP_KEY, or --key; other users of the machine can see what is on a command line. SERVICE may be
NAME@VERSION. A credential of your own for the backend goes into --header, as the service wants it; where that is
Authorization, the key is sent in X-API-Key.

With --dry-run nothing is called, and no proxy needs to run: the definition is read from the source, and the HTTP
request that the call would make is printed, with credentials masked.`,
		Example: `  NMP_KEY=nmp_… nacos-mcp-proxy call petstore get_pet petId=7
  nacos-mcp-proxy call petstore find_pets --args '{"tags": ["a", "b"]}' --url https://mcp.example.com -o json
  nacos-mcp-proxy call petstore get_pet petId=7 --dry-run`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 2 {
				for _, v := range args[2:] {
					if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
						return fail(exitUsage, "%q is no argument of a tool: write name=value", v)
					}
				}
				args = args[:2]
			}
			return exactly("SERVICE", "TOOL")(c, args)
		},
		ValidArgsFunction: p.completeCall,
		RunE: func(cmd *cobra.Command, args []string) error {
			in.service, in.tool, in.values = args[0], args[1], args[2:]
			if p.dryRun {
				return p.previewCall(cmd, in)
			}
			return p.call(cmd, in)
		},
	}
	cmd.Flags().StringVar(&in.url, "url", "", "`URL` of the proxy; default: NMP_URL, or where the boot configuration listens")
	cmd.Flags().StringVar(&in.key, "key", "", "API `key`; better: NMP_KEY")
	cmd.Flags().StringVar(&in.args, "args", "", "arguments as a `JSON` object; name=value come on top")
	cmd.Flags().StringArrayVar(&in.headers, "header", nil, "`HEADER` to send along, as NAME: VALUE; may be given several times")
	cmd.Flags().BoolVar(&p.dryRun, "dry-run", false, "print the HTTP request that would be made, and call nothing")
	return cmd
}

// endpoint is the URL of a service.
func (in *calling) endpoint(cmd *cobra.Command) (string, error) {
	base := in.url
	if base == "" {
		base = os.Getenv(envURL)
	}
	if base == "" {
		cfg, err := config.Load(cmd.Flags())
		if err != nil {
			return "", err
		}
		base = listenURL(cfg)
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fail(exitUsage, "%q is no URL of a proxy: write http://127.0.0.1:8800", base)
	}
	at := strings.TrimSuffix(u.Path, "/")
	at = strings.TrimSuffix(strings.TrimSuffix(at, "/"+in.service), "/mcp")
	u.Path, u.RawQuery, u.Fragment = at+"/mcp/"+in.service, "", ""
	return u.String(), nil
}

// listenURL is where a proxy with this configuration is reached from its own machine.
func listenURL(cfg config.Config) string {
	host, port, _ := net.SplitHostPort(cfg.Listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if cfg.TLS.Cert != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// call calls through a running proxy.
func (p *program) call(cmd *cobra.Command, in calling) error {
	if in.key == "" {
		in.key = os.Getenv(envKey)
	}
	endpoint, err := in.endpoint(cmd)
	if err != nil {
		return err
	}
	header, err := in.header()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	wire := &wiretap{key: in.key, header: header, next: transport}
	client := mcp.NewClient(&mcp.Implementation{Name: "nacos-mcp-proxy", Version: p.version}, &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			if r.Params.Message != "" {
				p.note("%s", r.Params.Message)
			}
		},
	})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: endpoint, HTTPClient: wire.client(), MaxRetries: -1, DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		return wire.explain(in, endpoint, err)
	}
	defer session.Close()
	tool, err := p.findTool(ctx, session, in)
	if err != nil {
		return wire.explain(in, endpoint, err)
	}
	arguments, err := p.arguments(tool.InputSchema, in)
	if err != nil {
		return err
	}
	params := &mcp.CallToolParams{Name: in.tool, Arguments: arguments}
	params.SetProgressToken(1)
	result, err := session.CallTool(ctx, params)
	if err != nil {
		return wire.explain(in, endpoint, err)
	}
	return p.printResult(wire.result(result), result)
}

// findTool gives the tool as the key may see it.
func (p *program) findTool(ctx context.Context, session *mcp.ClientSession, in calling) (*mcp.Tool, error) {
	var names []string
	for tool, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, err
		}
		if tool.Name == in.tool {
			return tool, nil
		}
		names = append(names, tool.Name)
	}
	return nil, noTool(in, names, "this key may call")
}

func noTool(in calling, names []string, which string) error {
	hint := spelling.DidYouMean(in.tool, names)
	list := strings.Join(names, ", ")
	if list == "" {
		list = "none"
	}
	return fail(exitNotFound, "%s has no tool %q that %s%s; there are: %s", in.service, in.tool, which, hint, list)
}

// printResult prints a result; raw is what came, if it is known.
func (p *program) printResult(raw json.RawMessage, result *mcp.CallToolResult) error {
	err := p.print(raw, func() {
		for _, c := range result.Content {
			p.say("%s", contentText(c))
		}
		if len(result.Content) == 0 && result.StructuredContent != nil {
			var out bytes.Buffer
			_ = json.Indent(&out, structuredOf(raw), "", "  ")
			p.say("%s", out.String())
		}
	})
	if err == nil && result.IsError {
		return errReported
	}
	return err
}

func structuredOf(raw json.RawMessage) json.RawMessage {
	var r struct{ StructuredContent json.RawMessage }
	_ = json.Unmarshal(raw, &r)
	return r.StructuredContent
}

// contentText is a block of content for people: bytes that are no text are only told of.
func contentText(c mcp.Content) string {
	switch c := c.(type) {
	case *mcp.TextContent:
		return strings.TrimSuffix(c.Text, "\n")
	case *mcp.ImageContent:
		return fmt.Sprintf("(image, %s, %d bytes: see -o json)", c.MIMEType, len(c.Data))
	case *mcp.AudioContent:
		return fmt.Sprintf("(audio, %s, %d bytes: see -o json)", c.MIMEType, len(c.Data))
	case *mcp.ResourceLink:
		return fmt.Sprintf("(resource %s)", c.URI)
	case *mcp.EmbeddedResource:
		if c.Resource != nil && len(c.Resource.Blob) == 0 {
			return c.Resource.Text
		}
		if c.Resource != nil {
			return fmt.Sprintf("(resource %s, %s, %d bytes: see -o json)", c.Resource.URI, c.Resource.MIMEType, len(c.Resource.Blob))
		}
	}
	return "(content of another kind: see -o json)"
}

// explain says what to do about a call that failed before there was a result.
func (w *wiretap) explain(in calling, endpoint string, err error) error {
	var own coded
	var network net.Error
	status, message := w.refusal()
	switch {
	case errors.As(err, &own):
		return err
	case status == http.StatusUnauthorized && in.key == "":
		return fail(exitUnavailable, "%s wants an API key: set %s to one, or give --key (consumers create NAME makes one)", in.service, envKey)
	case status == http.StatusUnauthorized:
		return fail(exitUnavailable, "the proxy does not accept %s: it is mistyped, expired, revoked or disabled, or the proxy follows another source; see consumers list", keyName(in.key))
	case status == http.StatusForbidden:
		return fail(exitUnavailable, "%s may not call %s, or there is no such service: grants explain %s says why, and grants allow %s --consumer NAME allows it",
			keyName(in.key), in.service, in.service, in.service)
	case status == http.StatusTooManyRequests:
		return fail(exitUnavailable, "call %s: %s (wait, or raise limits in the consumer's or the grants document)", in.service, message)
	case status >= 400:
		return fail(exitFailed, "call %s: HTTP %d: %s", in.service, status, message)
	case errors.As(err, &network):
		return fail(exitUnavailable, "call %s: %w (is the proxy running, and --url right?)", endpoint, unwrapURL(err))
	}
	var refused *jsonrpc.Error
	if errors.As(err, &refused) {
		return fail(exitFailed, "call %s %s: %s", in.service, in.tool, refused.Message)
	}
	return fail(exitFailed, "call %s: %w", endpoint, err)
}

func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// ourKey is a key as we make them: nothing of another one may be shown.
var ourKey = regexp.MustCompile(`^nmp_([A-Za-z0-9._-]+)_[A-Z2-7]{52}$`)

// keyName names a key without showing it: those that we made begin with their id.
func keyName(key string) string {
	if key == "" {
		return "a caller without a key"
	}
	if m := ourKey.FindStringSubmatch(key); m != nil {
		return "key " + m[1]
	}
	return "the key"
}
