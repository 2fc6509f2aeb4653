//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a subject in a process of its own.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// spawn starts a program; what it prints goes to a file.
func (b *bench) spawn(name, program string, args ...string) (*process, error) {
	return b.spawnIn("", nil, name, program, args...)
}

// spawnIn starts it in a directory, with more in its environment.
func (b *bench) spawnIn(dir string, env []string, name, program string, args ...string) (*process, error) {
	log, err := os.Create(b.dir(name + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{cmd: cmd, log: log.Name(), done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.done) }()
	b.procs = append(b.procs, p)
	return p, nil
}

// role starts one of this program's own roles on a free port and gives its address.
func (b *bench) role(name string, args ...string) (*process, string, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p, err := b.spawn(name, self, append([]string{"role", name, address}, args...)...)
	if err != nil {
		return nil, "", err
	}
	return p, address, p.listens(address)
}

// serve starts the proxy on a registry directory.
func (b *bench) serve(name, registry string) (*process, string, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	p, err := b.spawn(name, b.proxy, "serve", "--source", "dir", "--dir-path", registry,
		"--listen", address, "--admin-listen", "127.0.0.1:0", "--state-path", b.dir(name+"-state"))
	return p, address, err
}

// freeAddress is a loopback address that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// listens waits until the process takes connections.
func (p *process) listens(address string) error {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		select {
		case <-p.done:
			return p.failed("ended before it listened")
		default:
		}
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return nil
		}
	}
	return p.failed("does not listen")
}

func (p *process) failed(what string) error {
	text, _ := os.ReadFile(p.log)
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return fmt.Errorf("%s %s; it said: %s", filepath.Base(p.cmd.Path), what, text)
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// cpu is the time that the threads of the process and its children have run, to the nanosecond where the kernel keeps it.
func (p *process) cpu() time.Duration { return cpuOf(strconv.Itoa(p.cmd.Process.Pid)) }

func cpuOf(pid string) time.Duration {
	tasks, _ := filepath.Glob("/proc/" + pid + "/task/*")
	var sum time.Duration
	for _, t := range tasks {
		text, _ := os.ReadFile(t + "/schedstat")
		first, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(n)
		children, _ := os.ReadFile(t + "/children")
		for child := range strings.FieldsSeq(string(children)) {
			sum += cpuOf(child)
		}
	}
	return sum
}

// memory reads a field of /proc/PID/status in bytes: VmRSS now, VmHWM at most so far.
func (p *process) memory(field string) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), field+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("read memory: no " + field)
}

// settled is the resident memory when it has stopped moving for a second.
func (p *process) settled() (int64, error) {
	last := int64(0)
	for range 30 {
		n, err := p.memory("VmRSS")
		if err != nil {
			return 0, err
		}
		if diff := n - last; diff < 256<<10 && diff > -256<<10 {
			return n, nil
		}
		last = n
		time.Sleep(time.Second)
	}
	return last, nil
}

// quiet waits until the process has nothing to do: it has read its registry.
func (p *process) quiet() {
	for range 120 {
		before := p.cpu()
		time.Sleep(500 * time.Millisecond)
		if p.cpu()-before < 10*time.Millisecond {
			return
		}
	}
}
