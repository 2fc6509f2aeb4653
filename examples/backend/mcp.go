package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// stepTime is how long countdown rests between two steps: long enough to see progress arrive.
const stepTime = 150 * time.Millisecond

type addInput struct {
	A float64 `json:"a" jsonschema:"the first number"`
	B float64 `json:"b" jsonschema:"the second number"`
}

type addOutput struct {
	Sum float64 `json:"sum" jsonschema:"a and b together"`
}

type diceInput struct {
	Sides int `json:"sides,omitempty" jsonschema:"sides of a die, 2 to 100; 6 if left out"`
	Count int `json:"count,omitempty" jsonschema:"how many dice, 1 to 20; 1 if left out"`
}

type diceOutput struct {
	Rolls []int `json:"rolls" jsonschema:"what each die shows"`
	Total int   `json:"total" jsonschema:"the sum of all dice"`
}

type countdownInput struct {
	From int `json:"from" jsonschema:"where to begin, 1 to 50"`
}

// newMCP is the MCP server, on every path. Without sessions it speaks every revision; the newest has none.
func newMCP(sessions bool) http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "demo-tools", Title: "Demo tools", Version: "1.0.0"}, &mcp.ServerOptions{
		Instructions: "Tools to try an MCP client with: add numbers, roll dice, watch a countdown.",
	})
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: true}
	mcp.AddTool(s, &mcp.Tool{
		Name: "add", Title: "Add two numbers", Description: "Add two numbers and give their sum", Annotations: readOnly,
	}, add)
	mcp.AddTool(s, &mcp.Tool{
		Name: "roll_dice", Title: "Roll dice", Description: "Roll one or more dice", Annotations: readOnly,
	}, rollDice)
	mcp.AddTool(s, &mcp.Tool{
		Name: "countdown", Title: "Count down", Description: "Count down to lift-off, with progress on the way", Annotations: readOnly,
	}, countdown)

	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{
		Stateless:                    !sessions,
		PropagateRequestCancellation: true,
		SessionTimeout:               10 * time.Minute,
	})
	mux := http.NewServeMux()
	mux.Handle("/mcp", handler)
	return mux
}

func add(_ context.Context, _ *mcp.CallToolRequest, in addInput) (*mcp.CallToolResult, addOutput, error) {
	sum := in.A + in.B
	return text("%v + %v = %v", in.A, in.B, sum), addOutput{sum}, nil
}

func rollDice(_ context.Context, _ *mcp.CallToolRequest, in diceInput) (*mcp.CallToolResult, diceOutput, error) {
	if in.Sides == 0 {
		in.Sides = 6
	}
	if in.Count == 0 {
		in.Count = 1
	}
	if in.Sides < 2 || in.Sides > 100 || in.Count < 1 || in.Count > 20 {
		return nil, diceOutput{}, fmt.Errorf("cannot roll %d dice of %d sides: 1 to 20 dice of 2 to 100 sides, please", in.Count, in.Sides)
	}
	out := diceOutput{Rolls: make([]int, in.Count)}
	for i := range out.Rolls {
		out.Rolls[i] = 1 + rand.IntN(in.Sides)
		out.Total += out.Rolls[i]
	}
	return text("rolled %v, %d in all", out.Rolls, out.Total), out, nil
}

// countdown reports its progress if the client asked for it, and stops when the call is cancelled.
func countdown(ctx context.Context, req *mcp.CallToolRequest, in countdownInput) (*mcp.CallToolResult, any, error) {
	if in.From < 1 || in.From > 50 {
		return nil, nil, fmt.Errorf("cannot count down from %d: 1 to 50, please", in.From)
	}
	token := req.Params.GetProgressToken()
	for i := range in.From {
		if token != nil {
			// A client that no longer listens is no reason to stop.
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
				ProgressToken: token,
				Progress:      float64(i + 1),
				Total:         float64(in.From),
				Message:       fmt.Sprintf("%d…", in.From-i),
			})
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(stepTime):
		}
	}
	return text("lift-off after %d steps", in.From), nil, nil
}

func text(format string, args ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}
}
