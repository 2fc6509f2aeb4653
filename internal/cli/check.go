package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// checked is what `check` says in JSON.
type checked struct {
	Documents int                   `json:"documents"`
	Services  int                   `json:"services"`
	Rejected  catalog.RejectedCount `json:"rejected"`
	Warnings  int                   `json:"warnings"`
	Findings  []finding             `json:"findings"`
}

func (p *program) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [PATH]",
		Short: "Read every document and print what would be rejected",
		Long: `Read every document of a directory, or of the source that the boot configuration names, the way the proxy reads them,
and print each rejection as group/dataId:line: message. Exits 1 if there is one; warnings do not count.
A service can be not served without a rejection, as one of the registry whose tools are missing: services list says why.`,
		Example: `  nacos-mcp-proxy check ./registry
  nacos-mcp-proxy check --source nacos --nacos-addresses 10.0.0.1:8848 -o json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fail(exitUsage, "unexpected argument %q (see %s --help)", args[1], c.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := setPath(c, args[0]); err != nil {
					return err
				}
			}
			s, err := p.surveyAll(c)
			if err != nil {
				return err
			}
			defer s.Close()
			if s.documents == 0 {
				p.note("There is not one document: are %s right?", s.place)
			}
			return p.report(s)
		},
	}
}

// setPath makes PATH the directory source, whatever the environment and the file say.
func setPath(c *cobra.Command, path string) error {
	if f := c.Flags().Lookup("source"); f.Changed && f.Value.String() != config.SourceDir {
		return fail(exitUsage, "check either PATH or --source %s", f.Value)
	}
	switch st, err := os.Stat(path); {
	case err != nil:
		return fail(exitNotFound, "%w", err)
	case !st.IsDir():
		return fail(exitUsage, "%s is a file: check takes the directory that holds config/<group>/<data id>", path)
	}
	if err := c.Flags().Set("source", config.SourceDir); err != nil {
		return err
	}
	return c.Flags().Set("dir-path", path)
}

func (p *program) report(s *survey) error {
	result := checked{Documents: s.documents, Rejected: catalog.CountRejected(s.DocumentStatuses()), Findings: s.findings()}
	for range s.Index().Services() {
		result.Services++
	}
	for _, f := range result.Findings {
		if f.Warning {
			result.Warnings++
		}
	}
	err := p.print(result, func() {
		for _, f := range result.Findings {
			fmt.Fprintln(p.out, f)
		}
		fmt.Fprintf(p.out, "%s, %s: %s, %s\n", plural(result.Documents, "document"), plural(result.Services, "service"),
			rejectedCount(result.Rejected), plural(result.Warnings, "warning"))
	})
	if err == nil && len(result.Findings) > result.Warnings {
		return errReported
	}
	return err
}

func rejectedCount(n catalog.RejectedCount) string {
	return fmt.Sprintf("%s and %s rejected", plural(n.Documents, "document"), plural(n.Tools, "tool"))
}
