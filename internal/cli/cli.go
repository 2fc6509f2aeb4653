// Package cli is the command line: it runs the proxy and manages the documents that the proxy follows.
// It must never write what `check` would reject, overwrite somebody else's edit unasked, or show a key a second time.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // something did not work, or `check` found rejections
	exitUsage       = 2 // the command line or the boot configuration is wrong
	exitNotFound    = 3 // what was named does not exist
	exitConflict    = 4 // somebody else changed the document meanwhile
	exitUnavailable = 5 // the source cannot be reached, failed, or does not permit it
)

// Execute runs the command line of this process and gives its exit code. The first SIGINT or SIGTERM ends what runs in
// good order, the second one at once.
func Execute(version string) int {
	surviveReaders()
	allowDumps := forbidCoreDumps() // before anything secret is read
	ctx, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // the next one then does what signals do: before anything shows that the first one came
		end()
	}()
	p := &program{version: versionOf(version), in: os.Stdin, out: os.Stdout, err: os.Stderr, now: time.Now, open: openSources, allowDumps: allowDumps}
	return p.execute(ctx, os.Args[1:])
}

// program is one run of the command line, with what tests put in place of the outer world.
type program struct {
	version string
	in      io.Reader
	out     io.Writer
	err     io.Writer
	now     func() time.Time
	open    func(context.Context, config.Config, *slog.Logger) (*documents, error)

	allowDumps func() error // nil where nothing has forbidden them

	output string // text or json
	dryRun bool
	force  bool

	printing *output  // what out is while a command runs
	unseen   *outcome // a new key that was stored and is to be printed yet
}

// coded is an error with its exit code.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

func fail(code int, format string, args ...any) error {
	return coded{fmt.Errorf(format, args...), code}
}

// errReported ends a command whose output says already what was wrong.
var errReported = coded{errors.New("reported"), exitFailed}

func (p *program) execute(ctx context.Context, args []string) int {
	p.printing = &output{to: p.out}
	p.out = p.printing
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	err := root.ExecuteContext(ctx)
	if unprinted := p.printed(); unprinted != nil && (err == nil || p.unseen != nil) {
		err = errors.Join(err, unprinted)
	}
	if err == nil {
		return exitOK
	}
	if err != error(errReported) {
		fmt.Fprintf(p.err, "nacos-mcp-proxy: %v\n", err)
		if way := wayOut(err); way != "" {
			fmt.Fprintln(p.err, way)
		}
	}
	return exitCode(err)
}

// doubtful is a write that Nacos answered with a failure of its own: it may have been carried out.
type doubtful struct {
	error
	way string // what to do
}

func (d doubtful) Unwrap() error { return d.error }

// doubt has the error of a write say what to do, where Nacos failed.
func doubt(err error, format string, args ...any) error {
	if !errors.Is(err, nacos.ErrFailed) {
		return err
	}
	return doubtful{err, fmt.Sprintf(format, args...)}
}

// again is what to do about most writes in doubt.
const again = "The change may have been made: run the command again, it writes only what is missing."

// doubtKey is for writes with a key that is shown once they are made, and that is lost if one in doubt was made.
func doubtKey(err error, consumer, id string) error {
	var d doubtful
	if !errors.As(err, &d) {
		return err // nothing was written
	}
	return doubt(err, "consumers show %s tells whether the key %s is stored, which nobody has seen then: consumers keys add %s makes another one, "+
		"and consumers keys revoke %s %s removes it. If it is not stored, run the command again.", consumer, id, consumer, consumer, id)
}

// wayOut says what to look at where the source did not answer, failed or let nobody in; other errors say it themselves.
func wayOut(err error) string {
	var c coded
	var d doubtful
	switch {
	case errors.As(err, &c):
		return ""
	case errors.As(err, &d):
		return failedItself + " " + d.way
	case errors.Is(err, nacos.ErrFailed):
		return failedItself + " Run the command again."
	case errors.Is(err, nacos.ErrLogin):
		return "Check nacos.username (--nacos-username, NMP_NACOS_USERNAME) and nacos.password (NMP_NACOS_PASSWORD)."
	case errors.Is(err, nacos.ErrUnavailable):
		return "Is it running, and is nacos.addresses (--nacos-addresses, NMP_NACOS_ADDRESSES) or dir.path right?"
	}
	return ""
}

const failedItself = "Nacos answered, but failed; its own log says why."

func exitCode(err error) int {
	var c coded
	var faults config.Faults
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.As(err, &faults):
		return exitUsage
	case errors.Is(err, nacos.ErrNotFound):
		return exitNotFound
	case errors.Is(err, nacos.ErrConflict):
		return exitConflict
	case errors.Is(err, nacos.ErrUnavailable), errors.Is(err, nacos.ErrForbidden):
		return exitUnavailable
	}
	return exitFailed
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "nacos-mcp-proxy",
		Short: "An MCP gateway whose configuration lives in Nacos",
		Long: `nacos-mcp-proxy serves MCP services that are published in Nacos (or in a directory that stands in for one) to
clients with API keys, and says who may call what.

The commands that manage documents work on the same source as the proxy: give them the same --config, NMP_* variables
or flags. An edit is in force in every replica within a second.

With -o json every command prints one JSON object. Those that write say what became of each document under
"documents" ({document, action, md5, warnings}), and a new key under "key"; lists are under the name of what they list.

Exit codes: 0 done; 1 failed, or check found rejections; 2 wrong usage or boot configuration; 3 not found; 4 somebody
else changed the document meanwhile; 5 the source cannot be reached, failed, or does not permit it.`,
		Example: `  nacos-mcp-proxy serve --source dir --dir-path ./registry
  nacos-mcp-proxy check ./registry
  nacos-mcp-proxy services publish petstore.yaml
  nacos-mcp-proxy grants allow petstore --consumer alice --create`,
		Args:          noCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if p.output != "text" && p.output != "json" {
				return fail(exitUsage, "-o %s: output is text or json", p.output)
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fail(exitUsage, "%w (see %s --help)", err, c.CommandPath())
	})
	root.PersistentFlags().StringVarP(&p.output, "output", "o", "text", "`format` of the output: text or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	config.SourceFlags(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("source", cobra.FixedCompletions([]string{config.SourceDir, config.SourceNacos}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(p.serveCommand(), p.checkCommand(), p.servicesCommand(), p.credentialsCommand(),
		p.consumersCommand(), p.grantsCommand(), p.callCommand(), p.statusCommand(), p.versionCommand())
	return root
}

// group is a command that only has commands below it.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: noCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// noCommand refuses what is none of a group's commands.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, below := range c.Commands() {
		names = append(names, below.Name())
	}
	return fail(exitUsage, "unknown command %q for %q%s", args[0], c.CommandPath(), spelling.DidYouMean(args[0], names))
}

// exactly wants these arguments, by name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fail(exitUsage, "%s is missing (see %s --help)", names[len(args)], c.CommandPath())
		case len(args) > len(names):
			return fail(exitUsage, "unexpected argument %q (see %s --help)", args[len(names)], c.CommandPath())
		}
		return nil
	}
}

// writing adds the flags of commands that write documents.
func (p *program) writing(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&p.dryRun, "dry-run", false, "show what would be written, and write nothing")
	c.Flags().BoolVar(&p.force, "force", false, "overwrite what somebody else wrote meanwhile")
	return c
}

// source opens the source of the boot configuration that a command was given.
func (p *program) source(c *cobra.Command) (*documents, error) {
	cfg, err := config.Load(c.Flags())
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		p.note("warning: %s", w)
	}
	d, err := p.open(c.Context(), cfg, p.quietLogger(c, cfg))
	if err != nil {
		return nil, err
	}
	d.config = cfg
	return d, nil
}

// run opens the source for a command, and closes it afterwards.
func (p *program) run(do func(cmd *cobra.Command, d *documents, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		d, err := p.source(cmd)
		if err != nil {
			return err
		}
		defer d.close()
		return do(cmd, d, args)
	}
}

// quietLogger keeps what a source logs off the terminal unless asked: errors are what a command ends with.
func (p *program) quietLogger(c *cobra.Command, cfg config.Config) *slog.Logger {
	if f := c.Flags().Lookup("log-level"); f == nil || !f.Changed {
		return slog.New(slog.DiscardHandler)
	}
	return newLogger(p.err, cfg.Log)
}

func newLogger(w io.Writer, l config.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// note tells people something beside the output.
func (p *program) note(format string, args ...any) { fmt.Fprintf(p.err, format+"\n", args...) }

// say prints output, in text only.
func (p *program) say(format string, args ...any) {
	if p.output == "text" {
		fmt.Fprintf(p.out, format+"\n", args...)
	}
}

// print gives v as JSON, or whatever text does.
func (p *program) print(v any, text func()) error {
	if p.output != "json" {
		text()
		return nil
	}
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows under a head.
func (p *program) table(head []any, rows [][]any) {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]any{head}, rows...) {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}
