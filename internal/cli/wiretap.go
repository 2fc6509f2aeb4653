package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// wiretap adds the key to requests and keeps what the SDK does not hand on: the status and text of a refusal, and the
// bytes of the result, in which large numbers have all their digits.
type wiretap struct {
	key    string
	header http.Header // besides
	next   http.RoundTripper

	mu      sync.Mutex
	status  int
	message string
	answer  bytes.Buffer // of the call
}

// maxKept bounds what is kept of an answer; of a larger one the result is shown as the SDK understood it.
const maxKept = 64 << 20

func (w *wiretap) client() *http.Client {
	return &http.Client{Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the key is for this proxy only
	}}
}

// RoundTrip sends a request with the key.
func (w *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	maps.Copy(r.Header, w.header)
	switch {
	case w.key == "":
	case w.header.Get("Authorization") != "": // the caller's own, for the backend
		r.Header.Set("X-API-Key", w.key)
	default:
		r.Header.Set("Authorization", "Bearer "+w.key)
	}
	call := false
	if r.Body != nil && r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var message struct{ Method string }
		call = json.Unmarshal(body, &message) == nil && message.Method == "tools/call"
	}
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode >= 400 && r.Method == http.MethodPost:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		w.refused(resp.StatusCode, body)
	case call:
		resp.Body = &kept{resp.Body, w}
	}
	return resp, nil
}

func (w *wiretap) refused(status int, body []byte) {
	var e struct{ Error struct{ Message string } }
	message := http.StatusText(status)
	if json.Unmarshal(body, &e) == nil && e.Error.Message != "" {
		message = e.Error.Message
	}
	w.mu.Lock()
	w.status, w.message = status, message
	w.mu.Unlock()
}

// refusal is the last refusal by the proxy; 0 if there was none.
func (w *wiretap) refusal() (int, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status, w.message
}

// kept copies what is read of a body.
type kept struct {
	io.ReadCloser
	w *wiretap
}

func (k *kept) Read(p []byte) (int, error) {
	n, err := k.ReadCloser.Read(p)
	k.w.mu.Lock()
	if k.w.answer.Len()+n <= maxKept {
		k.w.answer.Write(p[:n])
	}
	k.w.mu.Unlock()
	return n, err
}

// result gives the result of the call as it came, or else as the SDK read it.
func (w *wiretap) result(read *mcp.CallToolResult) json.RawMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	messages := [][]byte{w.answer.Bytes()}
	for line := range strings.Lines(w.answer.String()) {
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			messages = append(messages, []byte(data))
		}
	}
	for _, m := range messages {
		var message struct{ Result json.RawMessage }
		if json.Unmarshal(m, &message) == nil && len(message.Result) > 0 {
			return message.Result
		}
	}
	b, _ := json.Marshal(read)
	return b
}
