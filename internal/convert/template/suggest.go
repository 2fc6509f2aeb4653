package template

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/spelling"
)

func keysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// removed are functions that people may know and why they are not here.
var removed = map[string]string{
	"env":           "templates cannot read the proxy's environment; use ${env:NAME} where the boot configuration allows it",
	"expandenv":     "templates cannot read the proxy's environment; use ${env:NAME} where the boot configuration allows it",
	"getHostByName": "templates cannot use the network",
}

func unknownFunction(name string) string {
	if why := removed[name]; why != "" {
		return fmt.Sprintf("function %q not available: %s", name, why)
	}
	if slices.Contains(keyMakers, name) {
		return fmt.Sprintf("function %q not available: templates make no keys or password hashes", name)
	}
	return fmt.Sprintf("function %q not defined%s", name, suggest(name, functionNames))
}

// suggest names the nearest known word, if one is near.
func suggest(name string, known []string) string {
	return spelling.DidYouMean(name, slices.DeleteFunc(slices.Clone(known), func(k string) bool {
		return strings.Contains(k, ".") || k == treeName
	}))
}
