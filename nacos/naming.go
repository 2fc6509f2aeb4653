package nacos

import (
	"context"
	"errors"
)

type naming struct{}

func (*naming) close() {}

func (c *Client) Subscribe(ref ServiceRef, onChange func([]Instance)) (stop func(), err error) {
	return nil, errors.New("todo")
}
func (c *Client) Register(ctx context.Context, ref ServiceRef, in Instance) error {
	return errors.New("todo")
}
func (c *Client) Deregister(ctx context.Context, ref ServiceRef, in Instance) error {
	return errors.New("todo")
}
