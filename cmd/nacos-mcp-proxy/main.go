// Command nacos-mcp-proxy is the gateway and the tools to manage what it serves.
package main

import (
	"os"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/cli"
)

// version is set by the linker (see Makefile); empty builds say what Go knows of them.
var version string

func main() { os.Exit(cli.Execute(version)) }
