package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
)

const (
	loginTimeout = 5 * time.Second
	// After this long without an answer a login is sent once more, over a new connection: that one may have died, and waiting
	// for it all of loginTimeout would be too long. It is longer than dialTimeout, so that a dead member is passed over first.
	loginSilence = 2500 * time.Millisecond
	// A refused login is tried again soon enough to be back within 5 s of being mended, and no faster than that.
	loginRetry = 3 * time.Second
	// One that nobody answered is tried again this soon.
	loginUnreached = 500 * time.Millisecond
	// A token that the server refuses is replaced once it is this old. Younger ones are not: then it is a right
	// that is missing, not the token.
	tokenSettles = 2 * time.Second
	// How often a token is replaced because of refusals that the last replacement did not mend; and while nothing at all is
	// granted to it, as then it is more likely to be the token than a right.
	tokenDistrust = 20 * time.Second
	tokenUseless  = 3 * time.Second
)

// authenticator knows who we are to Nacos: it logs in, keeps the token and renews it before it expires, or signs
// with an access key. The SDK's own login is not used: it does not notice that the server changed its signing key.
type authenticator struct {
	c *Client

	turn      chan struct{} // holds one element while nobody logs in; guards what follows
	token     Secret
	logins    int // so far: which token is meant
	issued    time.Time
	renew     time.Time
	retry     time.Time // no login before
	lastErr   error
	distrust  time.Time // no replacement of a refused token before
	loginPath string

	made   time.Time
	worked atomic.Int64 // when something was last granted to a token, in nanoseconds since made
}

// ErrLogin is ErrForbidden for everything: the user or the password is wrong, as opposed to one right that is missing.
var ErrLogin = fmt.Errorf("%w: login refused", ErrForbidden)

func missingRight(err error) bool { return errors.Is(err, ErrForbidden) && !errors.Is(err, ErrLogin) }

// credential is what one request was sent with.
type credential struct {
	headers map[string]string
	login   int // that its token came with
}

// granted notes that a request was granted. One that was sent with an earlier token says nothing of this one, but there are
// few of those.
func (a *authenticator) granted() { a.worked.Store(int64(time.Since(a.made))) }

// granted notes that a request was granted; mended, that it was so with a new token after it was refused with the old one.
func (c *Client) granted(mended bool) {
	c.auth.granted()
	if mended {
		c.background(func() { c.recovered("the token is no longer refused") })
	}
}

// useless tells whether nothing has been granted for a while.
func (a *authenticator) useless() bool {
	return time.Since(a.made)-time.Duration(a.worked.Load()) >= tokenUseless
}

const (
	loginV3 = "/nacos/v3/auth/user/login"
	loginV1 = "/nacos/v1/auth/users/login" // 2.x
)

func newAuthenticator(c *Client) *authenticator {
	a := &authenticator{c: c, turn: make(chan struct{}, 1), loginPath: loginV3, made: time.Now()}
	a.turn <- struct{}{}
	return a
}

// headers gives what a request about a group of the client's namespace must carry.
func (a *authenticator) headers(ctx context.Context, group string) (credential, error) {
	if a.c.cfg.AccessKey != "" {
		return credential{headers: a.c.cfg.signDocuments(group, time.Now())}, nil
	}
	if a.c.cfg.Username == "" {
		return credential{}, nil
	}
	if err := a.lock(ctx); err != nil {
		return credential{}, err
	}
	defer a.unlock()
	now := time.Now()
	if a.token.Empty() || now.After(a.renew) {
		if err := a.login(ctx, now); err != nil {
			return credential{}, err
		}
	}
	return credential{map[string]string{constant.KEY_ACCESS_TOKEN: a.token.Reveal()}, a.logins}, nil
}

// namingHeaders signs a request about a service.
func (a *authenticator) namingHeaders(ctx context.Context, ref ServiceRef) (credential, error) {
	if a.c.cfg.AccessKey != "" {
		return credential{headers: a.c.cfg.signService(ref, time.Now())}, nil
	}
	return a.headers(ctx, "")
}

// refused is told that cred was answered with 403. True means that there is a new token worth trying.
func (a *authenticator) refused(ctx context.Context, cred credential) bool {
	if a.c.cfg.AccessKey != "" || a.c.cfg.Username == "" || a.lock(ctx) != nil {
		return false
	}
	defer a.unlock()
	if a.logins != cred.login {
		return !a.token.Empty() // somebody was quicker
	}
	now := time.Now()
	if now.Sub(a.issued) < tokenSettles || now.Before(a.distrust) && !(a.useless() && now.Sub(a.issued) >= tokenUseless) {
		return false
	}
	a.c.mayHaveMissed(false) // what is refused just now is known late
	if a.login(ctx, now) != nil {
		return false // gRPC answers some seconds before HTTP does: not to be held against the next attempt
	}
	a.distrust = now.Add(tokenDistrust)
	return true
}

// reconnected makes the next refusal count at once: the server may have been restarted with another key.
func (a *authenticator) reconnected() {
	if a.lock(a.c.ctx) == nil {
		a.distrust = time.Time{}
		a.unlock()
	}
}

func (a *authenticator) lock(ctx context.Context) error {
	select {
	case <-a.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: wait for login: %w", ErrUnavailable, ctx.Err())
	}
}

func (a *authenticator) unlock() { a.turn <- struct{}{} }

// login fetches a token. Between two failures lies loginRetry; until then the last one is the answer.
func (a *authenticator) login(ctx context.Context, now time.Time) error {
	if now.Before(a.retry) {
		return a.lastErr
	}
	// Not bound to the caller's patience: others wait for the same token.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loginTimeout)
	defer cancel()
	stop := context.AfterFunc(a.c.ctx, cancel)
	defer stop()
	token, ttl, err := a.fetch(ctx)
	if err != nil {
		a.retry, a.lastErr = now.Add(loginUnreached), err
		if errors.Is(err, ErrForbidden) {
			a.retry = now.Add(loginRetry)
			a.logins++
			a.token = Secret{}
			a.c.problem("login", fmt.Sprintf("login to Nacos as %q refused: check nacos.username and nacos.password", a.c.cfg.Username))
		}
		return err
	}
	failed := a.lastErr != nil
	a.logins++
	a.token, a.issued, a.renew = NewSecret(token), now, now.Add(ttl*8/10)
	a.retry, a.lastErr = time.Time{}, nil
	a.c.problem("login", "")
	if failed {
		a.c.loggedIn.happen()
		a.c.background(func() { a.c.recovered("the login is no longer refused") })
	}
	return nil
}

func (a *authenticator) fetch(ctx context.Context) (string, time.Duration, error) {
	form := url.Values{"username": {a.c.cfg.Username}, "password": {a.c.cfg.Password.Reveal()}}
	if a.lastErr != nil {
		a.c.http.anew() // what made the last one fail may have left dead connections
	}
	body, err := a.c.http.do(ctx, request{method: http.MethodPost, path: a.loginPath, form: form, silence: loginSilence})
	if errors.Is(err, errSilent) {
		a.c.http.anew()
		again, cancel := context.WithTimeout(context.WithoutCancel(ctx), loginTimeout) // a slow server needs all of it
		defer cancel()
		defer context.AfterFunc(a.c.ctx, cancel)()
		body, err = a.c.http.do(again, request{method: http.MethodPost, path: a.loginPath, form: form})
	}
	var status *statusError
	if errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusGone) {
		a.loginPath = map[string]string{loginV3: loginV1, loginV1: loginV3}[a.loginPath]
		body, err = a.c.http.do(ctx, request{method: http.MethodPost, path: a.loginPath, form: form})
	}
	if err != nil {
		// Nacos 3.1 answers a wrong password with a bare 500, an unknown user with 403.
		if errors.As(err, &status) && (status.status == http.StatusInternalServerError || errors.Is(err, ErrForbidden)) {
			return "", 0, fmt.Errorf("log in as %q: %w: wrong user or password (HTTP %d)", a.c.cfg.Username, ErrLogin, status.status)
		}
		return "", 0, fmt.Errorf("log in as %q: %w", a.c.cfg.Username, err)
	}
	var answer struct {
		AccessToken string
		TokenTTL    int64 // seconds
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		return "", 0, fmt.Errorf("log in as %q: %w: the answer holds no token; is this Nacos?", a.c.cfg.Username, ErrUnavailable)
	}
	a.c.contact()
	return answer.AccessToken, time.Duration(max(answer.TokenTTL, 5)) * time.Second, nil
}

// sign puts a credential into an SDK request's headers.
func (cred credential) sign(headers map[string]string) { maps.Copy(headers, cred.headers) }
