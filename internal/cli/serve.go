package cli

import (
	"net"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/app"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

func (p *program) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `Run the proxy until SIGINT or SIGTERM, upon which calls in flight get limits.drain to finish; a second signal ends it
at once. It starts without its source too: from what it last knew, or with /readyz at 503 until the source answers.

Every key of the boot configuration is a flag, an NMP_* variable or a line of --config; docs/nacos-mcp-proxy.yaml lists
them all. Secrets have no flags: set NMP_NACOS_PASSWORD and the like.`,
		Example: `  nacos-mcp-proxy serve --source dir --dir-path ./registry
  NMP_NACOS_PASSWORD=… nacos-mcp-proxy serve --source nacos --nacos-addresses 10.0.0.1:8848 --nacos-username proxy
  nacos-mcp-proxy serve --config nacos-mcp-proxy.yaml`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(c.Flags())
			if err != nil {
				return err
			}
			log := newLogger(p.err, cfg.Log)
			for _, w := range cfg.Warnings {
				log.Warn(w)
			}
			if cfg.Process.CoreDumps && p.allowDumps != nil {
				if err := p.allowDumps(); err != nil {
					log.Warn("core dumps cannot be allowed", "error", err)
				}
			}
			return app.Run(c.Context(), cfg, p.version, log, func(addr net.Addr) {
				scheme := "http"
				if cfg.TLS.Cert != "" {
					scheme = "https"
				}
				log.Info("serving", "url", scheme+"://"+addr.String()+"/mcp/{service}", "admin", cfg.Admin.Listen, "source", cfg.Source, "version", p.version)
			})
		},
	}
	config.ServeFlags(c.Flags())
	return c
}
