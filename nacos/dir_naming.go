package nacos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// dirInstance is an instance as people write it.
type dirInstance struct {
	Host     string            `yaml:"host,omitempty"`
	IP       string            `yaml:"ip,omitempty"` // Nacos's word for host
	Port     int               `yaml:"port"`
	Weight   *float64          `yaml:"weight,omitempty"`  // default 1
	Healthy  *bool             `yaml:"healthy,omitempty"` // default true
	Enabled  *bool             `yaml:"enabled,omitempty"` // default true
	Metadata map[string]string `yaml:"metadata,omitempty"`
	// Nacos's word, and default: true.
	Ephemeral *bool `yaml:"ephemeral,omitempty"`
}

// parseInstances reads a naming file: a YAML list of instances, strictly.
func parseInstances(content []byte) ([]Instance, error) {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	dec.KnownFields(true)
	var list []dirInstance
	if err := dec.Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("a list of instances is expected (- {host: 127.0.0.1, port: 8080}): %w", err)
	}
	instances := make([]Instance, 0, len(list))
	for i, in := range list {
		host := in.Host
		if host == "" {
			host = in.IP
		}
		switch {
		case host == "":
			return nil, fmt.Errorf("instance %d: host is missing", i+1)
		case in.Host != "" && in.IP != "":
			return nil, fmt.Errorf("instance %d: has both host and ip; write one", i+1)
		case in.Port < 1 || in.Port > 65535:
			return nil, fmt.Errorf("instance %d: port %d is not between 1 and 65535", i+1, in.Port)
		case in.Weight != nil && !(*in.Weight >= 0):
			return nil, fmt.Errorf("instance %d: weight %v is not 0 or more", i+1, *in.Weight)
		}
		instances = append(instances, Instance{
			Host:     host,
			Port:     in.Port,
			Weight:   or(in.Weight, 1),
			Healthy:  or(in.Healthy, true),
			Enabled:  or(in.Enabled, true),
			Metadata: in.Metadata,

			Persistent: !or(in.Ephemeral, true),
		})
	}
	return instances, nil
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// dirSub delivers the instances of one service.
type dirSub struct {
	dir      *Dir
	file     dirFile
	onChange func([]Instance)
	stop     chan struct{}
	done     chan struct{}
	woken    chan struct{}
	once     sync.Once
}

// Subscribe follows a naming file. A file that is absent (or unreadable from the start) holds no instances; one that
// becomes unreadable keeps those it had, and Status says what is wrong. onChange must not call stop.
func (d *Dir) Subscribe(ref ServiceRef, onChange func([]Instance)) (stop func(), err error) {
	file, err := namingFile(ref)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s/%s: %w", ref.Group, ref.Service, err)
	}
	s := &dirSub{
		dir:      d,
		file:     file,
		onChange: onChange,
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		woken:    make(chan struct{}, 1),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("subscribe %s/%s: %w: closed", ref.Group, ref.Service, ErrUnavailable)
	}
	d.subs[s] = true
	d.start()
	s.wake()
	go s.run()
	return s.close, nil
}

func (s *dirSub) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *dirSub) close() {
	s.once.Do(func() {
		s.dir.mu.Lock()
		delete(s.dir.subs, s)
		s.dir.mu.Unlock()
		close(s.stop)
	})
	<-s.done
}

func (s *dirSub) run() {
	defer close(s.done)
	var last []Instance // nil: nothing delivered yet
	for {
		select {
		case <-s.stop:
			return
		case <-s.woken:
		}
		now, ok := s.read()
		if !ok && last == nil {
			now, ok = []Instance{}, true
		}
		select {
		case <-s.stop:
			return
		default:
		}
		if ok && (last == nil || !reflect.DeepEqual(now, last)) {
			last = now
			s.onChange(append([]Instance{}, now...))
		}
	}
}

// read gives the instances now; not ok leaves them as they were.
func (s *dirSub) read() (instances []Instance, ok bool) {
	path := s.dir.path(s.file)
	content, err := s.dir.read(s.file)
	if errors.Is(err, ErrNotFound) {
		return []Instance{}, !s.dir.believes(s.file) && s.dir.available() == nil
	}
	if err == nil {
		if instances, err = parseInstances(content); err != nil {
			err = fmt.Errorf("read %s: %w", path, err)
		}
	}
	s.dir.problem(path, err)
	return instances, err == nil
}

// Register adds an instance to a naming file, or replaces the one with the same host and port. Unlike in Nacos it
// stays when its process dies; what people wrote besides it stays as it is.
func (d *Dir) Register(ctx context.Context, ref ServiceRef, in Instance) error {
	return d.editInstances(ctx, "register", ref, in, true)
}

// Deregister takes an instance out of a naming file; that it is not in there is no error.
func (d *Dir) Deregister(ctx context.Context, ref ServiceRef, in Instance) error {
	return d.editInstances(ctx, "deregister", ref, in, false)
}

func (d *Dir) editInstances(ctx context.Context, verb string, ref ServiceRef, in Instance, add bool) error {
	fail := func(err error) error {
		return fmt.Errorf("%s %s in %s/%s: %w", verb, net.JoinHostPort(in.Host, strconv.Itoa(in.Port)), ref.Group, ref.Service, err)
	}
	file, err := namingFile(ref)
	if err != nil {
		return fail(err)
	}
	if in.Host == "" || in.Port < 1 || in.Port > 65535 {
		return fail(fmt.Errorf("%w: host and a port between 1 and 65535 are needed", ErrInvalid))
	}
	if err := d.available(); err != nil {
		return fail(err)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	content, err := d.read(file)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fail(err)
	}
	if _, err := parseInstances(content); err != nil {
		return fail(fmt.Errorf("%w: %s: %w", ErrInvalid, d.path(file), err))
	}
	edited, err := editInstanceList(content, in, add)
	if err != nil {
		return fail(err)
	}
	if bytes.Equal(edited, content) {
		return nil
	}
	if err := d.write(file, edited); err != nil {
		return fail(err)
	}
	return nil
}

// editInstanceList works on the YAML tree, so that comments and other instances stay.
func editInstanceList(content []byte, in Instance, add bool) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, err
	}
	if doc.Kind == 0 || doc.Content[0].Kind != yaml.SequenceNode {
		doc = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.SequenceNode}}}
	}
	list := doc.Content[0]
	kept := list.Content[:0]
	found := false
	for _, n := range list.Content {
		var have dirInstance
		if err := n.Decode(&have); err != nil {
			return nil, err
		}
		if have.Port == in.Port && strings.EqualFold(have.Host+have.IP, in.Host) {
			found = true
			continue
		}
		kept = append(kept, n)
	}
	list.Content = kept
	if !add && !found {
		return content, nil
	}
	if add {
		var n yaml.Node
		err := n.Encode(dirInstance{Host: in.Host, Port: in.Port, Weight: &in.Weight, Healthy: &in.Healthy, Enabled: &in.Enabled, Metadata: in.Metadata})
		if err != nil {
			return nil, err
		}
		list.Content = append(list.Content, &n)
		list.Style = 0
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
