package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/access"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// explained is what `grants explain` says in JSON.
type explained struct {
	*catalog.AccessTable
	From string `json:"from"` // the running proxy's address, or "source"
}

const fromSource = "source"

func (p *program) grantsExplain() *cobra.Command {
	var consumer, tool string
	var offline bool
	cmd := &cobra.Command{
		Use: "explain SERVICE [--consumer NAME] [--tool TOOL]", Short: "Tell who may call what, and why", Args: exactly("SERVICE"),
		ValidArgsFunction: p.completeServices,
		Long: `Tell for every consumer and tool whether it may be called, and why: which grant, on which level, until when, or what is
missing. The answer is that of the running proxy at admin.listen, if there is one, else it is computed from the source's
documents by the same code; --from-source does so in any case.`,
		Example: `  nacos-mcp-proxy grants explain petstore
  nacos-mcp-proxy grants explain petstore --consumer bob --tool add_pet`,
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := p.explain(cmd, args[0], tool, offline)
			if err != nil {
				return err
			}
			if err := narrow(&out, consumer, tool); err != nil {
				return err
			}
			return p.print(out, func() { p.sayExplained(out, consumer, tool) })
		},
	}
	cmd.Flags().StringVar(&consumer, "consumer", "", "only this consumer, by `name`")
	cmd.Flags().StringVar(&tool, "tool", "", "only this tool, by `name`; it may be one that does not exist yet")
	cmd.Flags().BoolVar(&offline, "from-source", false, "do not ask a running proxy")
	_ = cmd.RegisterFlagCompletionFunc("consumer", p.completeNames(registry.GroupConsumers))
	_ = cmd.RegisterFlagCompletionFunc("tool", p.completeTools)
	return cmd
}

// explain asks a running proxy, or reads the source. A tool that the proxy's documents do not name may be one of a
// backend's own: the grants can tell of it nevertheless.
func (p *program) explain(cmd *cobra.Command, service, tool string, offline bool) (explained, error) {
	out := explained{From: fromSource}
	if !offline {
		cfg, err := config.Load(cmd.Flags())
		if err != nil {
			return out, err
		}
		table, err := askAccess(cmd.Context(), cfg, service)
		known := err == nil && (tool == "" || slices.Contains(table.Tools, tool))
		if known {
			return explained{table, cfg.Admin.Listen}, nil
		}
		// A proxy that wants a token, or does not know the service, is not passed over in silence: it may be the one in question.
		if err != nil && !errors.Is(err, errNoProxy) {
			p.note("no answer of the proxy at %s: %v; from the source:", cfg.Admin.Listen, err)
		}
	}
	s, err := p.surveyAll(cmd)
	if err != nil {
		return out, err
	}
	defer s.Close()
	var more []string
	if x := s.Index().Service(service); x != nil && !x.Kind.Converted() && tool != "" {
		more = []string{tool}
	}
	var found bool
	if out.AccessTable, found = s.Explain(service, p.now(), more...); found {
		return out, nil
	}
	var names []string
	for n := range s.Index().Services() {
		names = append(names, n)
	}
	hint := spelling.DidYouMean(service, names)
	return out, fail(exitNotFound, "there is no service %q%s; see services list", service, hint)
}

var errNoProxy = errors.New("no proxy is running")

func askAccess(ctx context.Context, cfg config.Config, service string) (*catalog.AccessTable, error) {
	raw, err := askAdmin(ctx, cfg, "/status/access?service="+url.QueryEscape(service))
	var network *url.Error
	switch {
	case errors.As(err, &network):
		return nil, errNoProxy
	case errors.Is(err, nacos.ErrNotFound):
		return nil, errors.New("it knows no such service")
	case err != nil:
		return nil, err
	}
	var t catalog.AccessTable
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	return &t, nil
}

// surveyAll reads every document.
func (p *program) surveyAll(cmd *cobra.Command) (*survey, error) {
	d, err := p.source(cmd)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return p.take(cmd.Context(), d, groupsOf(d.config))
}

// narrow leaves one consumer and one tool, if they are named.
func narrow(out *explained, consumer, tool string) error {
	if consumer != "" {
		var names []string
		for _, c := range out.Consumers {
			names = append(names, c.Name)
		}
		i := slices.Index(names, consumer)
		if i < 0 {
			hint := spelling.DidYouMean(consumer, names)
			return fail(exitNotFound, "there is no consumer %q%s: consumers create %s", consumer, hint, consumer)
		}
		out.Consumers = out.Consumers[i : i+1]
	}
	if tool == "" {
		return nil
	}
	if !slices.Contains(out.Tools, tool) {
		hint := spelling.DidYouMean(tool, out.Tools)
		return fail(exitNotFound, "%s has no tool %q that its documents name%s: %s", out.Service, tool, hint, strings.Join(out.Tools, ", "))
	}
	out.Tools = []string{tool}
	for i, c := range out.Consumers {
		out.Consumers[i].Tools = map[string]catalog.AccessCell{tool: c.Tools[tool]}
	}
	return nil
}

func (p *program) sayExplained(out explained, consumer, tool string) {
	state := "switch on, only those granted may call"
	if out.Auth == "disabled" {
		state = "switch off, anybody may call"
	}
	from := "as the documents say"
	if out.From != fromSource {
		from = "as the proxy at " + out.From + " goes by"
	}
	p.say("%s: %s (%s)", out.Service, state, from)
	if out.NotServed != "" {
		p.say("It is not served: %s", out.NotServed)
	}
	if len(out.Consumers) == 0 {
		p.say("There are no consumers: nacos-mcp-proxy consumers create NAME")
		return
	}
	var rows [][]any
	for _, c := range out.Consumers {
		rows = append(rows, explainRows(c, out.Tools, tool != "")...)
	}
	p.table([]any{"CONSUMER", "TOOL", "MAY CALL", "WHY"}, rows)
	if consumer != "" && len(out.Consumers) == 1 {
		if next := adviseOnExplained(out.Service, out.Consumers[0], tool); next != "" {
			p.say("%s", next)
		}
	}
}

// explainRows are a consumer's lines: one for all tools where they are all alike.
func explainRows(c catalog.AccessConsumer, tools []string, single bool) [][]any {
	alike := !single
	for _, t := range tools {
		alike = alike && c.Tools[t].Allowed == c.Allowed && strings.HasPrefix(c.Why, c.Tools[t].Why)
	}
	if alike || len(tools) == 0 {
		return [][]any{{c.Name, "(every one)", yesNo(c.Allowed), c.Why}}
	}
	var rows [][]any
	for _, t := range tools {
		why := c.Tools[t].Why
		if _, lost, ok := strings.Cut(c.Why, "; "); ok { // a key's fault is on the service's cell
			why += "; " + lost
		}
		rows = append(rows, []any{c.Name, t, yesNo(c.Tools[t].Allowed), why})
	}
	return rows
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// adviseOnExplained names the next step for a consumer who was asked for.
func adviseOnExplained(service string, c catalog.AccessConsumer, tool string) string {
	cell := catalog.AccessCell{Allowed: c.Allowed, Why: c.Why}
	command := fmt.Sprintf("nacos-mcp-proxy grants allow %s --consumer %s", service, c.Name)
	if tool != "" {
		cell = c.Tools[tool]
		command += " --tool " + tool
	}
	usable := slices.ContainsFunc(c.Keys, func(k catalog.KeyStatus) bool { return k.State == access.KeyOK.String() })
	switch {
	case !cell.Allowed && strings.HasPrefix(cell.Why, access.ConsumerDisabled.String()):
		return "Enable it: nacos-mcp-proxy consumers enable " + c.Name
	case cell.Why == catalog.ToolDisabled:
		return "It is for the service's document to allow: nacos-mcp-proxy services show " + service
	case !cell.Allowed:
		return "Allow it: " + command
	case !usable && cell.Why != access.SwitchOff.String():
		return "It needs a key that is in force: nacos-mcp-proxy consumers keys add " + c.Name
	}
	return ""
}
