package nacos_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// fakeHTTP is a client whose server is only as much of a Nacos as handler makes it; gRPC never answers.
func fakeHTTP(t *testing.T, cfg nacos.Config, handler http.HandlerFunc) *nacos.Client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	cfg.Addresses = append(cfg.Addresses, strings.TrimPrefix(s.URL, "http://"))
	c, err := nacos.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestListFallsBackTo2x: 3.x answers 410 to the old API, 2.x 404 to the new one.
func TestListFallsBackTo2x(t *testing.T) {
	const old = `{"totalCount":2,"pageNumber":1,"pagesAvailable":1,"pageItems":[
		{"id":"1","dataId":"a.yaml","group":"g","content":"x","md5":null,"tenant":""},
		{"id":"2","dataId":"b.yaml","group":"g","content":"y","md5":"0123","tenant":""}]}`
	want := []nacos.Entry{
		{Key: nacos.Key{Group: "g", DataID: "a.yaml"}, MD5: "9dd4e461268c8034f5c8564e155c67a6"},
		{Key: nacos.Key{Group: "g", DataID: "b.yaml"}, MD5: "0123"},
	}
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		var tenant string
		c := fakeHTTP(t, nacos.Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/nacos/v1/cs/configs" {
				w.WriteHeader(status)
				return
			}
			tenant = r.FormValue("tenant")
			_, _ = w.Write([]byte(old))
		})
		got, err := c.List(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("list after %d (-want +got):\n%s", status, diff)
		}
		if tenant != "" {
			t.Errorf("tenant of the public namespace is %q, 2.x knows it as blank", tenant)
		}
	}
}

func TestListRefusesWhatIsNotAWholeList(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   error
		text   string
	}{
		"forbidden":       {403, `{"status":403,"error":"Forbidden"}`, nacos.ErrForbidden, "grant it action r on public:g:config/*"},
		"busy":            {503, `{"message":"server limit match."}`, nacos.ErrUnavailable, "server limit match."},
		"an error inside": {200, `{"code":30000,"message":"oops","data":null}`, nacos.ErrUnavailable, "oops"},
		"not Nacos":       {200, `<html>`, nacos.ErrUnavailable, "unexpected answer"},
		"cut short":       {200, `{"code":0,"data":{"totalCount":200000,"pageItems":[{"dataId":"a","groupName":"g","md5":"0"}]}}`, nacos.ErrUnavailable, "more than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := fakeHTTP(t, nacos.Config{}, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			_, err := c.List(t.Context(), "g")
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}

// TestDeadMemberIsPassedOver: an address list with dead ones in it serves from the one that lives, for reading.
func TestDeadMemberIsPassedOver(t *testing.T) {
	c := fakeHTTP(t, nacos.Config{Addresses: []string{"127.0.0.1:1", "127.0.0.1:2"}}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"code":0,"data":{"totalCount":0,"pageItems":[]}}`))
	})
	for range 3 {
		if _, err := c.List(t.Context(), "g"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConnectRefusesWhatCannotWork(t *testing.T) {
	tests := map[string]struct {
		cfg  nacos.Config
		want string
	}{
		"no address":       {nacos.Config{}, "connect nacos: no address: set nacos.addresses, e.g. 127.0.0.1:8848"},
		"a URL":            {nacos.Config{Addresses: []string{"http://n:8848"}}, `connect nacos: parse address "http://n:8848": want host:port without scheme or path`},
		"a bad port":       {nacos.Config{Addresses: []string{"n:0"}}, `connect nacos: parse address "n:0": want host:port, e.g. 127.0.0.1:8848`},
		"half a key":       {nacos.Config{Addresses: []string{"n"}, AccessKey: "a"}, "connect nacos: accessKey and secretKey belong together: set both or none"},
		"two accounts":     {nacos.Config{Addresses: []string{"n"}, AccessKey: "a", SecretKey: nacos.NewSecret("b"), Username: "u"}, "connect nacos: username and accessKey exclude each other: set one of them"},
		"no such CA":       {nacos.Config{Addresses: []string{"n"}, TLS: nacos.TLS{Enabled: true, CA: "testdata/none.pem"}}, "connect nacos: read nacos.tls.ca: stat testdata/none.pem: no such file or directory"},
		"a CA that is not": {nacos.Config{Addresses: []string{"n"}, TLS: nacos.TLS{Enabled: true, CA: "list_test.go"}}, "connect nacos: load nacos.tls.ca: list_test.go holds no PEM certificate"},
		"half a pair":      {nacos.Config{Addresses: []string{"n"}, TLS: nacos.TLS{Enabled: true, Cert: "c"}}, "connect nacos: nacos.tls.cert and nacos.tls.key belong together: set both or none"},
		"a pair that is not": {nacos.Config{Addresses: []string{"n"}, TLS: nacos.TLS{Enabled: true, Cert: "list_test.go", Key: "list_test.go"}},
			"connect nacos: load nacos.tls.cert and nacos.tls.key: tls: failed to find any PEM data in certificate input"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := nacos.Connect(t.Context(), tt.cfg)
			if err == nil {
				_ = c.Close()
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamesAndContentThatNacosDoesNotTake(t *testing.T) {
	c := fakeHTTP(t, nacos.Config{}, func(w http.ResponseWriter, _ *http.Request) {})
	ok := nacos.Key{Group: "g", DataID: "d"}
	docs := map[string]nacos.Document{
		"a slash in the data id": {Key: nacos.Key{Group: "g", DataID: "a/b"}, Content: []byte("x")},
		"no data id":             {Key: nacos.Key{Group: "g"}, Content: []byte("x")},
		"a blank in the group":   {Key: nacos.Key{Group: "g g", DataID: "d"}, Content: []byte("x")},
		"a long group":           {Key: nacos.Key{Group: strings.Repeat("g", 129), DataID: "d"}, Content: []byte("x")},
		"a long data id":         {Key: nacos.Key{Group: "g", DataID: strings.Repeat("d", 256)}, Content: []byte("x")},
		"no content":             {Key: ok},
		"not UTF-8":              {Key: ok, Content: []byte{0xff}},
		"11 MB":                  {Key: ok, Content: []byte(strings.Repeat("x", 11<<20))},
	}
	for name, doc := range docs {
		t.Run(name, func(t *testing.T) {
			if err := c.Publish(t.Context(), doc, nacos.AnyMD5); !errors.Is(err, nacos.ErrInvalid) {
				t.Errorf("publish: %v, want ErrInvalid", err)
			}
		})
	}
}

// TestConsoleAsAddress: the console of Nacos 3 answers a login with 500, as the server does to a wrong password, and other
// requests with 403; what is wrong is its port. Seen to fail without httpAPI.console: "wrong user or password (HTTP 500)".
func TestConsoleAsAddress(t *testing.T) {
	console := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v3/console/health/readiness":
			_, _ = w.Write([]byte(`{"code":0,"message":"success","data":"ok"}`))
		case strings.HasSuffix(r.URL.Path, "/login"), strings.HasSuffix(r.URL.Path, "/users/login"):
			http.Error(w, "caused: No static resource nacos/v3/auth/user/login.;", http.StatusInternalServerError)
		default:
			http.Error(w, "Forbidden", http.StatusForbidden)
		}
	}
	for name, cfg := range map[string]nacos.Config{"with a user": {Username: "nacos", Password: nacos.NewSecret("right")}, "without": {}} {
		c := fakeHTTP(t, cfg, console)
		_, err := c.List(t.Context(), "g")
		if !errors.Is(err, nacos.ErrUnavailable) || errors.Is(err, nacos.ErrForbidden) || !strings.Contains(err.Error(), "is the port of Nacos's console") {
			t.Errorf("%s: %v", name, err)
		}
		eventually(t, 10*time.Second, name+": the status says so", func() bool {
			return strings.Contains(strings.Join(c.Status().Problems, "; "), "is the port of Nacos's console")
		})
	}
	// A server that refuses is none, whatever it answers to the question.
	for _, status := range []int{http.StatusNotFound, http.StatusOK} {
		var asked atomic.Int32
		c := fakeHTTP(t, nacos.Config{}, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v3/console/") {
				asked.Add(1)
				w.WriteHeader(status)
				return
			}
			http.Error(w, "Forbidden", http.StatusForbidden)
		})
		for range 3 {
			if _, err := c.List(t.Context(), "g"); !errors.Is(err, nacos.ErrForbidden) {
				t.Errorf("a server: %v", err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if n := asked.Load(); n < 1 || n > 2 { // by the list, and by the connection that is not made
			t.Errorf("a server was asked %d times whether it is a console", n)
		}
	}
}
