package nacostest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/bubble"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// As a publish was answered once, but for the SQL.
const derbyRace = "PreparedStatementCallback; uncategorized SQLException for SQL [SELECT id FROM config_info WHERE data_id=?]; SQL state [XJ001]; error code [0]; " +
	"Java exception: 'class org.apache.derby.catalog.types.ReferencedColumnsDescriptorImpl cannot be cast to class org.apache.derby.iapi.sql.execute.ExecRowBuilder'"

var errLost = errors.New("connection lost")

// TestInsistTellsFaultsOfTheDatabaseFromRefusals: what is done again, and what comes back at once.
func TestInsistTellsFaultsOfTheDatabaseFromRefusals(t *testing.T) {
	for _, test := range []struct {
		first error
		also  []error
		times int
	}{
		{first: fmt.Errorf("publish g/d: source unavailable: %s (code 500)", derbyRace), times: 2},
		{first: errors.New("PreparedStatementCallback; SQL [INSERT INTO users]; No current connection.; nested exception is…"), times: 2},
		{first: errors.New("uncategorized SQLException for SQL [UPDATE users]; SQL state [40XL1]; error code [30000]"), times: 2},
		{first: errors.New("Failed to obtain JDBC Connection; Connection is not available, request timed out after 30000ms"), times: 2},
		{first: errors.New("publish g/d: source unavailable: Cas publish fail, server md5 may have changed. (code 500)"), times: 1},
		{first: errors.New("DuplicateKeyException: SQL [INSERT INTO config_info]; SQL state [23505]"), times: 1},
		{first: errors.New("DataIntegrityViolationException: SQL [INSERT INTO users]; SQL state [22001]; error code [30000]"), times: 1},
		{first: errors.New("publish g/d: not permitted: user \"u\""), times: 1},
		{first: fmt.Errorf("publish g/d: %w", errLost), times: 1},
		{first: fmt.Errorf("publish g/d: %w", errLost), also: []error{errLost}, times: 2},
		{times: 1},
	} {
		times := 0
		err := Insist(t, func() error {
			if times++; times > 1 {
				return nil
			}
			return test.first
		}, test.also...)
		if times != test.times {
			t.Errorf("%v: done %d times, want %d", test.first, times, test.times)
		}
		if want := test.first; test.times == 1 && err != want || test.times > 1 && err != nil {
			t.Errorf("%v: in the end %v", test.first, err)
		}
	}
}

// TestInsistOnRemoval: what is absent is an error, but after an attempt that failed.
func TestInsistOnRemoval(t *testing.T) {
	absent := errors.New("not there")
	for _, test := range []struct {
		said []error // attempt by attempt
		want error
	}{
		{[]error{nil}, nil},
		{[]error{absent}, absent},
		{[]error{errors.New(derbyRace), absent}, nil},
		{[]error{errors.New(derbyRace), errLost}, errLost},
	} {
		tries := 0
		err := InsistOnRemoval(t, func() error { tries++; return test.said[tries-1] }, absent)
		if err != test.want || tries != len(test.said) {
			t.Errorf("%v: %v after %d attempts, want %v", test.said, err, tries, test.want)
		}
	}
}

// TestInsistGivesUp: a database that fails for good is an error in the end.
func TestInsistGivesUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := Insist(t, func() error { return errors.New(derbyRace) }); err == nil || time.Since(began) < patience || time.Since(began) > patience+time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// TestMustAdminInsists has the real Nacos carry out writes and answer that its database failed all the same, the worst of
// what may be: all it was to make is there, and all it was to remove is gone. An entry of the MCP registry is left
// without its specification, which an interrupted create leaves out last.
func TestMustAdminInsists(t *testing.T) {
	real := Start(t)
	namespace := real.Namespace(t)
	var mu sync.Mutex
	seen := map[string]int{}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: real.Addr})
	forward.ModifyResponse = func(resp *http.Response) error {
		write := resp.Request.Method + " " + resp.Request.URL.Path
		mu.Lock()
		defer mu.Unlock()
		if seen[write]++; seen[write] > 1 || resp.Request.Method == http.MethodGet || strings.HasSuffix(write, "/login") {
			return nil
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: HTTP %d", write, resp.StatusCode)
		}
		if write == "POST "+mcpAPI {
			removeSpecification(t, real, namespace)
		}
		resp.StatusCode, resp.Header = http.StatusInternalServerError, http.Header{}
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(derbyRace)), -1
		return nil
	}
	front := httptest.NewServer(forward)
	defer front.Close()
	s := &Server{Addr: front.Listener.Addr().String(), User: real.User, Password: real.Password}

	s.Namespace(t)
	user, _ := s.NewUser(t, [2]string{"r", namespace + ":*:*"})
	s.MustAdmin(t, http.MethodDelete, "/nacos/v3/auth/user", url.Values{"username": {user}}, nil)
	entry := url.Values{
		"namespaceId": {namespace}, "mcpName": {"half"},
		"serverSpecification":   {`{"name":"half","protocol":"http","frontProtocol":"mcp-streamable","description":"whole","versionDetail":{"version":"1.0.0"},"remoteServerConfig":{"exportPath":"/"},"enabled":true}`},
		"toolSpecification":     {`{"tools":[{"name":"one","description":"d","inputSchema":{"type":"object","properties":{}}}],"toolsMeta":{"one":{"enabled":true}}}`},
		"endpointSpecification": {`{"type":"DIRECT","data":{"address":"127.0.0.1","port":"9","transportProtocol":"http"}}`},
	}
	s.MustAdmin(t, http.MethodPost, mcpAPI, nil, entry)
	name := url.Values{"namespaceId": {namespace}, "mcpName": {"half"}}
	if got := string(real.MustAdmin(t, http.MethodGet, mcpAPI, name, nil)); !strings.Contains(got, `"description":"whole"`) || !strings.Contains(got, `"name":"one"`) {
		t.Errorf("the entry is not whole: %s", got)
	}
	s.MustAdmin(t, http.MethodDelete, mcpAPI, name, nil)
	for _, write := range []string{"POST /nacos/v3/admin/core/namespace", "POST /nacos/v3/auth/user", "POST /nacos/v3/auth/role",
		"POST /nacos/v3/auth/permission", "DELETE /nacos/v3/auth/user", "POST " + mcpAPI, "DELETE " + mcpAPI} {
		if seen[write] != 2 {
			t.Errorf("%s was done %d times, want 2", write, seen[write])
		}
	}
	// Who did not fail before is told what there is.
	if status, body, err := s.insist(t, http.MethodDelete, mcpAPI, name, nil); err != nil || status != http.StatusNotFound {
		t.Errorf("removing what is not there: HTTP %d %s %v", status, body, err)
	}
}

const mcpAPI = "/nacos/v3/admin/ai/mcp"

// removeSpecification removes the specification of the namespace's only entry, and waits until Nacos knows.
func removeSpecification(t *testing.T, s *Server, namespace string) {
	list := url.Values{"search": {"blur"}, "groupName": {"mcp-server"}, "dataId": {"*"}, "namespaceId": {namespace}, "pageNo": {"1"}, "pageSize": {"10"}}
	_, body, err := s.Admin(http.MethodGet, "/nacos/v3/admin/cs/config/list", list, nil)
	_, after, _ := strings.Cut(string(body), `"dataId":"`)
	id, _, _ := strings.Cut(after, `"`)
	if err != nil || id == "" {
		t.Errorf("find the specification: %s %v", body, err)
	}
	document := url.Values{"namespaceId": {namespace}, "groupName": {"mcp-server"}, "dataId": {id}}
	if _, _, err := s.Admin(http.MethodDelete, "/nacos/v3/admin/cs/config", document, nil); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, _, _ := s.Admin(http.MethodGet, mcpAPI, url.Values{"namespaceId": {namespace}, "mcpName": {"half"}}, nil)
		if status == http.StatusNotFound {
			return
		}
		if time.Now().After(end) {
			t.Error("the specification is still there")
			return
		}
	}
}
