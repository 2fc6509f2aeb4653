// Package gotool runs the go command for the programs in scripts that look at what the repository is built from.
package gotool

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
)

// Systems are those that the program is built for, as GOOS has them. Some packages are compiled for one of them only.
var Systems = []string{"linux", "darwin", "windows"}

// Run runs go with args in the working directory, without cgo for the given GOOS, or as it is for "". It returns what go printed;
// an error has what go said of it.
func Run(system string, args ...string) (string, error) {
	c := exec.Command("go", args...)
	if system != "" {
		c.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}
