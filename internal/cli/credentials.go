package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func (p *program) credentialsCommand() *cobra.Command {
	return group("credentials", "Keep what the proxy needs towards backends",
		`A document in the group proxy-credentials holds secrets under names; services refer to one as
${credential:<document>/<name>}. It says which services may use its secrets, and to which hosts they may be sent.
Secrets are never printed. To take one away, edit or delete the document in the Nacos console.`,
		p.credentialsSet(), p.credentialsList())
}

const credentialsHeader = `# Secrets that services of the proxy need towards their backends.
#
#   services  which services may use them
#   hosts     where they may be sent: api.example.com, api.example.com:8443, *.example.com, or nacos:<group>/<service>
#   path      true where they may stand in the path of a URL, which backends and their logs show more readily than the rest
#   values    the secrets by name; a service refers to one as ${credential:<this document>/<name>}
#
# Whoever may read this group in Nacos reads the secrets. An edit is in force within a second.
`

// setting is what `credentials set` is told.
type setting struct {
	document, name  string
	services, hosts []string
}

func (p *program) credentialsSet() *cobra.Command {
	var in setting
	cmd := &cobra.Command{
		Use: "set DOCUMENT NAME [--service SERVICE]… [--host HOST]…", Short: "Store a secret, which is asked for or read from standard input", Args: exactly("DOCUMENT", "NAME"),
		ValidArgsFunction: p.completeNames(registry.GroupCredentials),
		Long: `Store a secret in a document of the group proxy-credentials, under a name, in place of the one that it has by now.
On a terminal the secret is asked for and not shown; else it is the first line of standard input. The document is made
if there is none: then say which service may use it and to which host it may be sent. Both add to what is there.`,
		Example: `  nacos-mcp-proxy credentials set petstore key --service petstore --host petstore.example.com
  nacos-mcp-proxy credentials set petstore key <key.txt`,
		RunE: p.run(func(cmd *cobra.Command, d *documents, args []string) error {
			in.document, in.name = args[0], args[1]
			out, err := p.setCredential(cmd.Context(), d, in)
			if err != nil {
				return err
			}
			return p.print(out, func() {
				if !p.dryRun {
					p.say("Services refer to it as ${credential:%s/%s}.", in.document, in.name)
				}
			})
		}),
	}
	cmd.Flags().StringSliceVar(&in.services, "service", nil, "`name` of a service that may use it; may be repeated")
	cmd.Flags().StringSliceVar(&in.hosts, "host", nil, "`host` that it may be sent to, or nacos:GROUP/SERVICE; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("service", p.complete(-1, func(ctx context.Context, d *documents, _ []string) []string {
		names, _ := p.serviceNames(ctx, d)
		return keysOf(names)
	}))
	return p.writing(cmd)
}

func (p *program) setCredential(ctx context.Context, d *documents, in setting) (outcome, error) {
	doc, exists, err := d.named(ctx, registry.GroupCredentials, in.document)
	switch {
	case err != nil:
		return outcome{}, err
	case !registry.ValidName(in.name):
		return outcome{}, fail(exitUsage, "%q is no valid name of a secret: 1 to 128 letters, digits, '.', '_' and '-'", in.name)
	case !exists && (len(in.services) == 0 || len(in.hosts) == 0):
		return outcome{}, fail(exitUsage, "%s is new: say which service may use it and where it may be sent, with --service and --host", doc.Key)
	}
	secret, err := p.readSecret(fmt.Sprintf("Secret %s of %s: ", in.name, in.document))
	if err != nil {
		return outcome{}, err
	}
	edit := func(t *document) error { return in.apply(t.root(), secret) }
	var w written
	if exists {
		w, err = p.edit(ctx, d, doc, edit)
	} else {
		w, err = p.create(ctx, d, doc, credentialsHeader+"services: []\nhosts: []\nvalues: {}\n", edit)
	}
	return p.outcome(w), err
}

// apply puts the secret, and who may use it, into a document.
func (in setting) apply(root *yaml.Node, secret string) error {
	for _, list := range []struct {
		field string
		add   []string
	}{{"services", in.services}, {"hosts", in.hosts}} {
		have, err := child(root, list.field, yaml.SequenceNode)
		if err != nil {
			return err
		}
		fresh := len(have.Content) == 0
		for _, name := range list.add {
			if !slices.ContainsFunc(have.Content, func(n *yaml.Node) bool { return n.Value == name }) {
				have.Content = append(have.Content, scalar(name))
			}
		}
		if fresh {
			have.Style = yaml.FlowStyle
		}
	}
	values, err := child(root, "values", yaml.MappingNode)
	if err != nil {
		return err
	}
	if text(values, in.name) != secret || field(values, in.name) == nil {
		setField(values, in.name, scalar(secret))
	}
	return nil
}

// maxSecret is the longest secret that is read; a larger one is a mistake, a whole file for example.
const maxSecret = 64 << 10

// readSecret asks for a secret on a terminal, without showing it; else it reads the first line.
func (p *program) readSecret(prompt string) (string, error) {
	var line string
	if f, ok := p.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(p.err, prompt)
		typed, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.err)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		line = string(typed)
	} else {
		var err error
		line, err = bufio.NewReader(io.LimitReader(p.in, maxSecret+1)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", fmt.Errorf("read secret: %w", err)
		}
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case strings.TrimSpace(line) == "":
		return "", fail(exitUsage, "there is no secret: type it, or give it on standard input")
	case len(line) > maxSecret:
		return "", fail(exitUsage, "the secret is longer than %d KiB", maxSecret>>10)
	}
	return line, nil
}

// credentialView is what is shown of a credentials document: no secrets.
type credentialView struct {
	Name     string   `json:"name"`
	Document string   `json:"document"`
	Services []string `json:"services"`
	Hosts    []string `json:"hosts"`
	Values   []string `json:"values"` // their names
	Rejected string   `json:"rejected,omitempty"`
}

func viewCredentials(doc nacos.Document) credentialView {
	v := credentialView{Name: trimExtension(doc.Key.DataID), Document: doc.Key.String(), Services: []string{}, Hosts: []string{}, Values: []string{}}
	c, found := registry.ParseCredentials(doc.Key.DataID, doc.Content)
	if c == nil {
		v.Rejected = firstRejection(found)
		return v
	}
	v.Services, v.Hosts, v.Values = c.Services, c.Hosts, keysOf(c.Values)
	slices.Sort(v.Values)
	return v
}

func (p *program) credentialsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the credentials, without their secrets", Args: exactly(), Example: "  nacos-mcp-proxy credentials list -o json",
		RunE: p.run(func(cmd *cobra.Command, d *documents, _ []string) error {
			docs, err := d.group(cmd.Context(), registry.GroupCredentials, nil)
			if err != nil {
				return err
			}
			views := []credentialView{}
			for _, doc := range docs {
				views = append(views, viewCredentials(doc))
			}
			slices.SortFunc(views, func(a, b credentialView) int { return strings.Compare(a.Document, b.Document) })
			return p.print(struct {
				Credentials []credentialView `json:"credentials"`
			}{views}, func() {
				if len(views) == 0 {
					p.say("There are no credentials. Store one: nacos-mcp-proxy credentials set DOCUMENT NAME --service SERVICE --host HOST")
					return
				}
				var rows [][]any
				for _, v := range views {
					values := strings.Join(v.Values, ", ")
					if v.Rejected != "" {
						values = "rejected: " + v.Rejected
					}
					rows = append(rows, []any{v.Name, strings.Join(v.Services, ","), strings.Join(v.Hosts, ","), values})
				}
				p.table([]any{"NAME", "SERVICES", "HOSTS", "SECRETS"}, rows)
			})
		}),
	}
}
