package nacos

import (
	"fmt"
	"net/url"
	"strings"
)

// dirFile names a file of a Dir: half is dirConfig or dirNaming.
type dirFile struct{ half, group, name string }

func configFile(k Key) dirFile { return dirFile{dirConfig, k.Group, k.DataID} }

// namingFile is where the instances of a service lie. The file name is the service's name with everything that a
// URL's path segment would escape escaped, plus ".yaml": "mcp::1.0" lies in mcp::1.0.yaml, "a/b" in a%2Fb.yaml.
// A Dir is one namespace and does not look at the one asked for: who may refer where is decided before.
func namingFile(ref ServiceRef) (dirFile, error) {
	group := ref.Group
	if group == "" {
		group = "DEFAULT_GROUP"
	}
	if err := checkDirName("group", group, maxGroup); err != nil {
		return dirFile{}, err
	}
	name := url.PathEscape(ref.Service)
	switch {
	case ref.Service == "":
		return dirFile{}, fmt.Errorf("%w: service name is empty", ErrInvalid)
	case name[0] == '.':
		return dirFile{}, fmt.Errorf("%w: service name %q starts with a dot, which hides a file", ErrInvalid, ref.Service)
	case len(name) > 250:
		return dirFile{}, fmt.Errorf("%w: service name %q is too long for a file", ErrInvalid, ref.Service)
	}
	return dirFile{dirNaming, group, name + ".yaml"}, nil
}

// Lengths that Nacos takes.
const (
	maxGroup  = 128
	maxDataID = 255
)

// checkDirKey takes the names that Nacos takes, but for those starting with a dot: they are hidden files, and two of
// them lead out of the directory.
func checkDirKey(k Key) error {
	if err := checkDirName("group", k.Group, maxGroup); err != nil {
		return err
	}
	return checkDirName("data id", k.DataID, maxDataID)
}

func checkDirName(what, name string, limit int) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: %s is empty", ErrInvalid, what)
	case len(name) > limit:
		return fmt.Errorf("%w: %s of %d characters is longer than %d", ErrInvalid, what, len(name), limit)
	case name[0] == '.':
		return fmt.Errorf("%w: %s %q starts with a dot, which a directory source cannot hold", ErrInvalid, what, name)
	}
	if i := strings.IndexFunc(name, illegal); i >= 0 {
		return fmt.Errorf("%w: %s %q has an illegal character at %d (letters, digits, . _ - : are legal)", ErrInvalid, what, name, i+1)
	}
	return nil
}

func illegal(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		r == '.' || r == '_' || r == '-' || r == ':')
}
