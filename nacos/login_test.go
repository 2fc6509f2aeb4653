package nacos_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// TestLoginOnADeadConnection: the first login is never answered, a second one over another connection is. Seen red with a login
// that waits for the first one for all of its time.
func TestLoginOnADeadConnection(t *testing.T) {
	t.Parallel()
	var logins atomic.Int32
	c := fakeHTTP(t, nacos.Config{Username: "u", Password: nacos.NewSecret("p")}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/login"):
			_, _ = w.Write([]byte(`{"code":0,"data":{"totalCount":0,"pageItems":[]}}`))
		case logins.Add(1) == 1:
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client is gone
			<-r.Context().Done()
		default:
			_, _ = w.Write([]byte(`{"accessToken":"token","tokenTtl":18000}`))
		}
	})
	if _, err := c.List(t.Context(), "g"); err != nil {
		t.Error(err)
	}
}
