package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/admin"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/catalog"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how a running proxy stands", Args: exactly(),
		Long: `Ask a running proxy, at admin.listen, how it stands: its source, what it rejected, and what it serves. The token, where
there is one, is NMP_ADMIN_TOKEN. Exits 1 if the proxy is not ready.`,
		Example: "  nacos-mcp-proxy status --admin-listen 127.0.0.1:8801",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(cmd.Flags())
			if err != nil {
				return err
			}
			raw, err := askAdmin(cmd.Context(), cfg, "/status")
			if err != nil {
				return err
			}
			var s admin.Status
			if err := json.Unmarshal(raw, &s); err != nil {
				return fmt.Errorf("read /status: %w", err)
			}
			if err := p.print(json.RawMessage(raw), func() { p.sayStatus(s) }); err != nil {
				return err
			}
			if !s.Ready {
				return errReported
			}
			return nil
		},
	}
}

// askAdmin asks a running proxy at its admin address; path may have a query.
func askAdmin(ctx context.Context, cfg config.Config, path string) ([]byte, error) {
	host, port, err := net.SplitHostPort(cfg.Admin.Listen)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	url := "http://" + net.JoinHostPort(host, port) + path
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if cfg.Admin.Token != "" {
		req.Header.Set("Authorization", "Bearer "+string(cfg.Admin.Token))
	}
	client := &http.Client{Transport: &http.Transport{}} // no proxy, as the token is for this address only
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, fail(exitUnavailable, "ask a proxy: %w (is it running, and is admin.listen right?)", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
	switch {
	case err != nil:
		return nil, fail(exitUnavailable, "read %s: %w", url, err)
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, fail(exitUnavailable, "%s wants a token: set NMP_ADMIN_TOKEN to the proxy's admin.token", url)
	case resp.StatusCode == http.StatusNotFound && resp.Header.Get("Content-Type") == "application/json":
		return nil, fmt.Errorf("%s: %w", url, nacos.ErrNotFound)
	case resp.StatusCode != http.StatusOK:
		return nil, fail(exitUnavailable, "%s answers %s: is that a proxy?", url, resp.Status)
	}
	return body, nil
}

func (p *program) sayStatus(s admin.Status) {
	ready := "ready"
	if !s.Ready {
		ready = "not ready: the configuration has not arrived yet"
	}
	p.say("nacos-mcp-proxy %s, replica %s, since %s: %s", s.Version, s.Replica.ID, s.Replica.Started.UTC().Format(time.RFC3339), ready)
	source := "connected"
	if !s.Source.Connected {
		source = "not connected"
	}
	if s.Source.Stale {
		source += ", serving what was last known"
		if s.Source.StaleSince != nil {
			source += " since " + s.Source.StaleSince.UTC().Format(time.RFC3339)
		}
	}
	p.say("Source %s: %s", s.Source.Kind, source)
	for _, problem := range s.Source.Problems {
		p.say("  %s", problem)
	}
	rejected := 0
	for _, d := range s.Documents {
		if d.State == catalog.Rejected {
			rejected++
			if rejected == 1 {
				p.say("Rejected:")
			}
			line := ""
			if d.Line > 0 {
				line = fmt.Sprintf(":%d", d.Line)
			}
			force := "nothing of it is in force"
			if d.InForce != "" {
				force = "the version before is in force"
			}
			p.say("  %s/%s%s: %s (since %s; %s)", d.Group, d.DataID, line, d.Error, d.Since.UTC().Format(time.RFC3339), force)
		}
	}
	off := 0
	for _, v := range s.Services {
		if v.NotServed != "" {
			off++
		}
	}
	p.say("%s, %s, %s not served, %s, %s rejected", plural(len(s.Documents), "document"), plural(len(s.Services), "service"), fmt.Sprint(off),
		plural(len(s.Consumers), "consumer"), fmt.Sprint(rejected))
	if s.Pending > 0 {
		p.say("%s still to validate", plural(s.Pending, "service"))
	}
}
