package nacostest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

var client = &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}

// Admin sends a request to the HTTP API as the admin user and gives the status and body. It is on purpose not
// the client under test.
func (s *Server) Admin(method, path string, query, form url.Values) (int, []byte, error) {
	for attempt := 0; ; attempt++ {
		token, err := s.login(attempt > 0)
		if err != nil {
			return 0, nil, err
		}
		var body io.Reader
		if form != nil {
			body = strings.NewReader(form.Encode())
		}
		req, err := http.NewRequest(method, "http://"+s.Addr+path+"?"+query.Encode(), body)
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("accessToken", token)
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, nil, err
		}
		data, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return 0, nil, err
		}
		// A fresh Nacos knows its new user everywhere only after a while.
		if resp.StatusCode == http.StatusForbidden && attempt < 10 {
			time.Sleep(500 * time.Millisecond)
			continue
		}
		return resp.StatusCode, data, nil
	}
}

// MustAdmin is Admin for what has to succeed, if need be when it is done again: see Insist.
func (s *Server) MustAdmin(t testing.TB, method, path string, query, form url.Values) []byte {
	t.Helper()
	status, body, err := s.insist(t, method, path, query, form)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s %s: HTTP %d %s %v", method, path, status, body, err)
	}
	return body
}

func (s *Server) login(again bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != "" && !again {
		return s.token, nil
	}
	resp, err := client.PostForm("http://"+s.Addr+"/nacos/v3/auth/user/login", url.Values{"username": {s.User}, "password": {s.Password}})
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var answer struct{ AccessToken string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		return "", fmt.Errorf("log in as %s: HTTP %d %s", s.User, resp.StatusCode, body)
	}
	s.token = answer.AccessToken
	return s.token, nil
}

// Namespace makes a namespace of its own for a test, so that tests share a Nacos without meeting.
func (s *Server) Namespace(t testing.TB) string {
	t.Helper()
	id := "t" + strings.ToLower(rand.Text()[:12])
	s.MustAdmin(t, http.MethodPost, "/nacos/v3/admin/core/namespace", nil, url.Values{
		"namespaceId": {id}, "customNamespaceId": {id}, "namespaceName": {id}, "namespaceDesc": {"made by a test"},
	})
	t.Cleanup(func() {
		_, _, _ = s.Admin(http.MethodDelete, "/nacos/v3/admin/core/namespace", url.Values{"namespaceId": {id}}, nil)
	})
	return id
}

// KeptNamespace gives a namespace of this id, which stays: what a test once wrote there needs no writing again.
func (s *Server) KeptNamespace(t testing.TB, id string) string {
	t.Helper()
	status, body, err := s.insist(t, http.MethodPost, "/nacos/v3/admin/core/namespace", nil, url.Values{
		"namespaceId": {id}, "customNamespaceId": {id}, "namespaceName": {id}, "namespaceDesc": {"made by a test, to be kept"},
	})
	if err != nil || status != http.StatusOK && !strings.Contains(string(body), "already exist") {
		t.Fatalf("make namespace %s: HTTP %d %s %v", id, status, body, err)
	}
	return id
}

// NewUser makes a user who has one permission, e.g. "r" on "public:*:*", and gives its name and password. Nacos needs
// up to 17 s to know of it; the call waits until login works.
func (s *Server) NewUser(t testing.TB, permissions ...[2]string) (name, password string) {
	t.Helper()
	name = "u" + strings.ToLower(rand.Text()[:10])
	password = rand.Text()
	role := "role" + name
	s.MustAdmin(t, http.MethodPost, "/nacos/v3/auth/user", nil, url.Values{"username": {name}, "password": {password}})
	s.MustAdmin(t, http.MethodPost, "/nacos/v3/auth/role", nil, url.Values{"role": {role}, "username": {name}})
	for _, p := range permissions {
		s.Grant(t, name, p[0], p[1])
	}
	return name, password
}

// Grant gives a user made by NewUser another permission.
func (s *Server) Grant(t testing.TB, name, action, resource string) {
	t.Helper()
	s.MustAdmin(t, http.MethodPost, "/nacos/v3/auth/permission", nil, url.Values{"role": {"role" + name}, "resource": {resource}, "action": {action}})
}
