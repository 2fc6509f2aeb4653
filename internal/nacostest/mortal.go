package nacostest

import (
	"os"
	"sync"
	"testing"
)

var mortal struct {
	sync.Mutex
	server *Server
}

// Mortal gives a Nacos that tests may kill, hang and restart: one for all tests of a process, as each start takes 15 s
// or more. Those tests must not run in parallel. One that the test before left dead is started again with its data.
func Mortal(t testing.TB) *Server {
	t.Helper()
	env := os.Getenv(Env)
	if env == "off" {
		t.Skipf("needs a Nacos, and %s=off", Env)
	}
	if testing.Short() && env == "" {
		t.Skip("starts a Nacos: not in -short")
	}
	mortal.Lock()
	defer mortal.Unlock()
	switch s := mortal.server; {
	case s == nil:
		s, err := start(options{private: true})
		if err != nil {
			t.Fatalf("start Nacos: %v", err)
		}
		mortal.server = s
	case !s.running():
		s.Restart(t)
	}
	t.Cleanup(mortal.server.Resume)
	return mortal.server
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid != 0
}

func closeMortal() {
	mortal.Lock()
	defer mortal.Unlock()
	if mortal.server != nil {
		mortal.server.Stop()
	}
	mortal.server = nil
}
