//go:build unix

package nacostest

import (
	"syscall"
	"time"
)

// Kill ends a private Nacos as a crash would (kill -9) and returns when it is gone. Its data stays.
func (s *Server) Kill() { s.signal(syscall.SIGKILL, true) }

// Hang stops a private Nacos without ending it: connections are accepted, nothing is answered.
func (s *Server) Hang() { s.signal(syscall.SIGSTOP, false) }

// Resume lets a hanging Nacos go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT, false) }

func (s *Server) signal(sig syscall.Signal, wait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.private {
		panic("nacostest: only a private Nacos may be killed; use Start(t, Private())")
	}
	if s.pid == 0 {
		return
	}
	_ = syscall.Kill(s.pid, sig)
	// The process is not our child: the script's end left it to the system.
	for i := 0; wait && i < 1000 && syscall.Kill(s.pid, 0) == nil; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if wait {
		s.pid = 0
	}
}
