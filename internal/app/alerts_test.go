package app

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/config"
)

// TestAlertRulesNameMetricsThatExist reads docs/alerts.yaml and asks a proxy for each metric in it.
func TestAlertRulesNameMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("../../docs/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	a := startApp(t, func(*config.Config) {})
	families, err := a.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range families {
		known[f.GetName()] = true
	}
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			for _, name := range regexp.MustCompile(`nmp_\w+`).FindAllString(r.Expr, -1) {
				n++
				if !known[name] {
					t.Errorf("%s: there is no metric %s", r.Alert, name)
				}
			}
			if r.Alert == "" || r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("incomplete: %+v", r)
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d metrics in the rules", n)
	}
}

// TestAlertRulesFire has Prometheus's own tool check docs/alerts.yaml, and run it on series of a healthy proxy and of faulty ones.
// Seen red with a threshold, a duration and the brackets of an expression altered.
func TestAlertRulesFire(t *testing.T) {
	required := os.Getenv("NMP_TEST_CLIENTS") == "required"
	if _, err := exec.LookPath("promtool"); err != nil && required {
		if out, err := exec.Command("../../scripts/packages", "prometheus").CombinedOutput(); err != nil {
			t.Fatalf("install promtool: %v\n%s", err, out)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if required {
			t.Fatal(err)
		}
		t.Skip("needs promtool, which comes with Prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "../../docs/alerts.yaml"}, {"test", "rules", "testdata/alerts_test.yaml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
