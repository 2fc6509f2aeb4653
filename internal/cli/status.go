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
	if !cfg.Admin.Token.Empty() {
		req.Header.Set("Authorization", "Bearer "+cfg.Admin.Token.Reveal())
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
	for _, alert := range s.Alerts {
		p.say("! %s", alert)
	}
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
	p.sayRejected(s.Documents)
	for _, v := range s.Services {
		for _, note := range v.Notes {
			p.say("Service %s: %s", v.Name, note)
		}
	}
	off := 0
	for _, v := range s.Services {
		if v.NotServed != "" {
			off++
		}
	}
	p.say("%s, %s, %d not served, %s: %s", plural(len(s.Documents), "document"), plural(len(s.Services), "service"), off,
		plural(len(s.Consumers), "consumer"), rejectedCount(s.Rejected))
	if s.Pending > 0 {
		p.say("%s still to validate", plural(s.Pending, "service"))
	}
}

// sayRejected lists documents that are rejected, and tools.
func (p *program) sayRejected(all []catalog.DocumentStatus) {
	head := "Rejected:"
	say := func(line string) {
		if head != "" {
			p.say("%s", head)
			head = ""
		}
		p.say("  %s", line)
	}
	for _, d := range all {
		since := d.Since.UTC().Format(time.RFC3339)
		if d.State == catalog.Rejected {
			force := "nothing of it is in force"
			switch d.InForce {
			case "":
			case d.MD5:
				force = "the rest of it is in force"
			default:
				force = "the version before is in force"
			}
			say(fmt.Sprintf("%s (since %s; %s)", finding{Group: d.Group, DataID: d.DataID, Line: d.Line, Message: d.Error}, since, force))
			continue
		}
		for _, f := range d.Faults {
			if f.Tool != "" && !f.Warning {
				say(fmt.Sprintf("%s (since %s; the other tools are in force)", finding{d.Group, d.DataID, f.Line, f.Tool, f.Field, f.Message, false}, since))
			}
		}
	}
}
