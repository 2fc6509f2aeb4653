package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/hostfile"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/secret"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// secrets looks credential references up in the current Index, so that an edited credential holds from the next call
// on. What a service may not read and what does not exist give the same error: a publisher learns nothing by trying.
type secrets struct {
	catalog    *Catalog
	groups     []string
	env, files []string
}

var errNoSecret = errors.New("there is no such credential, or its document does not list this service")

// Lookup resolves a reference as templates write it, without "${" and "}".
func (s *secrets) Lookup(service, ref string) (convert.Secret, error) {
	scheme, rest, _ := strings.Cut(ref, ":")
	switch {
	case scheme == "credential":
		dataID, field, ok := strings.Cut(rest, "/")
		if !ok {
			return convert.Secret{}, errors.New("write it as ${credential:<document>/<field>}")
		}
		return s.credential(service, trimExtension(dataID), field)
	case scheme == "env":
		if !slices.Contains(s.env, rest) {
			return convert.Secret{}, fmt.Errorf("add %q to credentials.env in the boot configuration to allow it", rest)
		}
		return convert.Secret{Value: secret.New(os.Getenv(rest))}, nil
	case scheme == "file":
		return s.file(rest)
	case strings.HasPrefix(ref, "nacos."):
		dataID, group, ok := strings.Cut(strings.TrimPrefix(ref, "nacos."), "/")
		if !ok {
			return convert.Secret{}, errors.New("write it as ${nacos.<data id>/<group>}")
		}
		return s.document(service, nacos.Key{Group: group, DataID: dataID})
	}
	return convert.Secret{}, errors.New("unknown kind of reference, use one that begins with credential:, nacos., env: or file: instead")
}

func (s *secrets) credential(service, name, field string) (convert.Secret, error) {
	c := s.read(name)
	if c == nil || !slices.Contains(c.Services, service) {
		return convert.Secret{}, errNoSecret
	}
	value, ok := c.Values[field]
	if !ok {
		return convert.Secret{}, fmt.Errorf("credential document %q has no value %q", name, field)
	}
	return convert.Secret{Value: value, Hosts: hosts(c), Path: c.Path}, nil
}

func (s *secrets) read(name string) *registry.Credentials {
	b := build{docs: s.catalog.Index().docs.edit()}
	if d := b.named(registry.GroupCredentials, name); d != nil {
		c, _ := d.value.(*registry.Credentials)
		return c
	}
	return nil
}

// hosts are where a credential may be sent; a document that lists none allows none.
func hosts(c *registry.Credentials) []string {
	if len(c.Hosts) == 0 {
		return []string{""}
	}
	return c.Hosts
}

// document resolves Higress's ${nacos.<dataId>/<group>}: the whole document, as JSON where it can be read as such.
func (s *secrets) document(service string, key nacos.Key) (convert.Secret, error) {
	switch {
	case key.Group == registry.GroupConsumers || key.Group == registry.GroupGrants:
		return convert.Secret{}, errNoSecret
	case !slices.Contains(s.groups, key.Group):
		return convert.Secret{}, errors.New("add the group to credentials.groups in the boot configuration to allow it")
	}
	d := s.catalog.Index().Document(key)
	if d == nil || d.value == nil {
		return convert.Secret{}, errNoSecret
	}
	if c, ok := d.value.(*registry.Credentials); ok {
		if !slices.Contains(c.Services, service) {
			return convert.Secret{}, errNoSecret
		}
		values := make(map[string]string, len(c.Values))
		for name, v := range c.Values {
			values[name] = v.Reveal()
		}
		text, err := json.Marshal(values)
		return convert.Secret{Value: secret.New(string(text)), Hosts: hosts(c), Path: c.Path}, err
	}
	content := d.good.open()
	if json.Valid(content) {
		return convert.Secret{Value: secret.New(string(content))}, nil
	}
	var tree any
	if err := yaml.Unmarshal(content, &tree); err == nil {
		if _, isMap := tree.(map[string]any); isMap {
			if text, err := json.Marshal(tree); err == nil {
				return convert.Secret{Value: secret.New(string(text))}, nil
			}
		}
	}
	return convert.Secret{Value: secret.New(strings.TrimSpace(string(content)))}, nil
}

func (s *secrets) file(path string) (convert.Secret, error) {
	if !slices.Contains(s.files, path) || filepath.Clean(path) != path {
		return convert.Secret{}, errors.New("add the path to credentials.files in the boot configuration to allow it")
	}
	text, err := hostfile.Read(path)
	if err != nil {
		return convert.Secret{}, fmt.Errorf("read credential file: %w", err)
	}
	return convert.Secret{Value: secret.New(strings.TrimSpace(string(text)))}, nil
}
