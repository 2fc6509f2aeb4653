package nacos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	sdkmodel "github.com/nacos-group/nacos-sdk-go/v2/model"
)

// registerRetry is the pause after a registration that failed.
const registerRetry = time.Second

func (in Instance) address() string { return net.JoinHostPort(in.Host, strconv.Itoa(in.Port)) }

// Register implements Source, with an ephemeral instance: Nacos drops it when the connection ends, and it is
// registered again on every new one. If Nacos cannot be reached now, the error is ErrUnavailable and the
// instance is registered as soon as it can be. Nacos keeps one instance of a service per connection, so a second
// Register of the same service replaces the first.
func (c *Client) Register(ctx context.Context, ref ServiceRef, in Instance) error {
	ref, err := c.normalise(ref)
	if err == nil && (in.Host == "" || in.Port < 1 || in.Port > 65535) {
		err = fmt.Errorf("%w: address %q", ErrInvalid, in.address())
	}
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	n, err := c.naming(ref.Namespace)
	if err != nil {
		return fmt.Errorf("register %s: %w", ref, err)
	}
	r := &registration{instance: in, sent: true}
	n.mu.Lock()
	n.regs[ref] = r
	n.mu.Unlock()
	if err := n.register(ctx, ref, in, "registerInstance"); err != nil {
		n.mu.Lock()
		r.sent = false
		n.mu.Unlock()
		return fmt.Errorf("register %s: %w", ref, err)
	}
	return nil
}

// Deregister implements Source.
func (c *Client) Deregister(ctx context.Context, ref ServiceRef, in Instance) error {
	ref, err := c.normalise(ref)
	if err != nil {
		return fmt.Errorf("deregister: %w", err)
	}
	n, err := c.naming(ref.Namespace)
	if err != nil {
		return fmt.Errorf("deregister %s: %w", ref, err)
	}
	n.mu.Lock()
	delete(n.regs, ref)
	n.mu.Unlock()
	if err := n.register(ctx, ref, in, "deregisterInstance"); err != nil {
		return fmt.Errorf("deregister %s: %w", ref, err)
	}
	return nil
}

func (n *naming) register(ctx context.Context, ref ServiceRef, in Instance, what string) error {
	if in.Weight == 0 && what == "registerInstance" {
		in.Weight = 1
	}
	resp, err := n.call(ctx, ref, func() rpc_request.IRequest {
		return rpc_request.NewInstanceRequest(ref.Namespace, ref.Service, ref.Group, what, sdkmodel.Instance{
			Ip: in.Host, Port: uint64(in.Port), Weight: in.Weight, Healthy: true, Enable: true, Ephemeral: true, //nolint:gosec // checked
			ClusterName: "DEFAULT", ServiceName: ref.Service, Metadata: in.Metadata,
		})
	})
	switch {
	case errors.Is(err, ErrForbidden):
		return fmt.Errorf("%w may not register: grant it action w or rw on %s:%s:naming/*", err, ref.Namespace, ref.Group)
	case err != nil:
		return err
	case !resp.IsSuccess():
		return fmt.Errorf("%w: %s (code %d)", ErrFailed, resp.GetMessage(), resp.GetErrorCode())
	}
	return nil
}

// sendRegistrations repeats on a new connection what the last one took along.
func (n *naming) sendRegistrations() {
	type due struct {
		ref ServiceRef
		r   *registration
	}
	var list []due
	now := time.Now()
	n.mu.Lock()
	for ref, r := range n.regs {
		if !r.sent && !now.Before(r.retry) {
			r.retry = now.Add(jitter(registerRetry))
			list = append(list, due{ref, r})
		}
	}
	n.mu.Unlock()
	for _, d := range list {
		if err := n.register(n.c.ctx, d.ref, d.r.instance, "registerInstance"); err != nil {
			n.c.log.Debug("nacos register failed, trying again", "service", d.ref.String(), "error", err)
			continue
		}
		n.mu.Lock()
		d.r.sent = true
		n.mu.Unlock()
	}
}
