//go:build !unix

package nacostest

// The scripts that start Nacos need a Unix: elsewhere there is no private Nacos to signal.
const needsUnix = "nacostest: a private Nacos needs a Unix"

// Kill ends a private Nacos as a crash would, on a Unix.
func (s *Server) Kill() { panic(needsUnix) }

// Hang stops a private Nacos without ending it, on a Unix.
func (s *Server) Hang() { panic(needsUnix) }

// Resume lets a hanging Nacos go on, on a Unix.
func (s *Server) Resume() { panic(needsUnix) }
