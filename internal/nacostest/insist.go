package nacostest

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long Insist goes on.
const patience = 30 * time.Second

// databaseFault is what Nacos passes on when its embedded database, Derby, failed a statement by no fault of the statement:
// a thread that executes a plan while another one replaces it trips over itself ("SQL state [XJ001]… cannot be cast to…",
// or an index out of bounds), its connection is gone then ("No current connection", 08003), a lock is waited for in vain
// or in a circle (40XL1, 40001), or there is no connection to be had. Other states are refusals, and come again.
var databaseFault = regexp.MustCompile(`SQL state \[(XJ001|XJ999|08\w{3}|40\w{3})\]|Java exception: '|No current connection|A lock could not be obtained|obtain JDBC Connection`)

// DatabaseFault tells whether Nacos said with this that its database failed, so that the same may work a moment later.
func DatabaseFault(said string) bool { return databaseFault.MatchString(said) }

// Insist does a write to the real Nacos, and does it again, for half a minute at most, as long as Nacos's database fails it.
// It is for writes that may be done twice: one that failed may have been carried out. Every other error comes back at once,
// so that a refusal, a conflict or a lost connection is still seen; but those named in also, for tests that end Nacos
// themselves, where a lost connection is no fault of ours.
func Insist(t testing.TB, write func() error, also ...error) error {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := write()
		passing := err != nil && (DatabaseFault(err.Error()) || slices.ContainsFunc(also, func(e error) bool { return errors.Is(err, e) }))
		if !passing || !time.Now().Before(end) {
			return err
		}
		t.Logf("is done again, as Nacos failed it: %v", err)
	}
}

// InsistOnRemoval is Insist for removals: what is absent after an attempt that failed was removed by that.
func InsistOnRemoval(t testing.TB, remove func() error, absent error, also ...error) error {
	t.Helper()
	tries := 0
	err := Insist(t, func() error { tries++; return remove() }, also...)
	if tries > 1 && errors.Is(err, absent) {
		return nil
	}
	return err
}

// insist is Admin for writes, done again while Nacos's database fails them. One that failed half-way meets what it left
// behind the next time: what it was to make is there by then, or what it was to remove is not.
func (s *Server) insist(t testing.TB, method, path string, query, form url.Values) (int, []byte, error) {
	t.Helper()
	for end, again := time.Now().Add(patience), false; ; time.Sleep(100 * time.Millisecond) {
		status, body, err := s.Admin(method, path, query, form)
		said := string(body)
		failed := status >= http.StatusInternalServerError && DatabaseFault(said) || err != nil && DatabaseFault(err.Error())
		switch {
		case failed && time.Now().Before(end):
			t.Logf("%s %s is done again, as Nacos failed it: HTTP %d %s %v", method, path, status, said, err)
			again = true
		case again && method == http.MethodPost && strings.HasSuffix(path, "/ai/mcp") && strings.Contains(said, "has existed"):
			// The documents of an entry are written one by one, and some may be missing: an update writes all of them.
			method, form = http.MethodPut, maps.Clone(form)
			form.Set("latest", "true")
		case again && method == http.MethodPost && strings.Contains(said, "already exist"),
			again && method == http.MethodDelete && status == http.StatusNotFound:
			return http.StatusOK, body, nil
		default:
			return status, body, err
		}
	}
}
