package session

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// Limits of what is sealed and opened.
const (
	MinSecret = 16   // bytes of a secret
	MaxID     = 6144 // characters of a session id: servers commonly take 8 KiB of headers
	// MaxBackend is the longest backend session id that surely fits, in bytes.
	MaxBackend = 4096 - 1024
)

// Errors of this package.
var (
	ErrUnknown = errors.New("open session: unknown id")             // altered, foreign, cut, or from a secret we do not have
	ErrTooLong = errors.New("seal session: backend id is too long") // the client could not send it back
)

// Sealer makes and opens session ids. It is immutable and may be used concurrently.
//
// An id is base64url without padding of: key id (1 byte), random nonce (24), sealed session and tag (16). The cipher is
// XChaCha20-Poly1305: its nonces may be drawn at random for ever, where AES-GCM's 12 bytes are spent after 2^32 ids, which
// replicas that share a secret for years could reach. The key id is authenticated along.
type Sealer struct {
	first key
	all   []key
}

type key struct {
	id   byte
	aead cipher.AEAD
}

// NewSealer makes a sealer of secrets, at least MinSecret bytes each and kept by nobody after: the first seals, all open.
// To rotate, put the new one last on all replicas, then first, then drop the old one. Without any secret it makes a random
// one, which opens nothing of another process or of an earlier start.
func NewSealer(secrets [][]byte) (*Sealer, error) {
	if len(secrets) == 0 {
		random := make([]byte, 32)
		rand.Read(random) //nolint:errcheck // never fails since Go 1.24
		secrets = [][]byte{random}
	}
	s := &Sealer{}
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("read session.secrets[%d]: %d bytes, at least %d are needed (make one with: openssl rand -base64 32)", i, len(secret), MinSecret)
		}
		k, err := derive(secret)
		if err != nil {
			return nil, fmt.Errorf("derive key of session.secrets[%d]: %w", i, err)
		}
		s.all = append(s.all, k)
	}
	s.first = s.all[0]
	return s, nil
}

// derive makes the key and its id from a secret (RFC 5869). The same secret gives the same on every replica, wherever it
// stands in the list.
func derive(secret []byte) (key, error) {
	okm, err := hkdf.Key(sha256.New, secret, nil, "nacos-mcp-proxy session id v1", chacha20poly1305.KeySize+1)
	if err != nil {
		return key{}, err
	}
	aead, err := chacha20poly1305.NewX(okm[:chacha20poly1305.KeySize])
	if err != nil {
		return key{}, err
	}
	return key{id: okm[chacha20poly1305.KeySize], aead: aead}, nil
}

const overhead = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// strict refuses set bits that the last character does not need: they would give one session several ids.
var strict = base64.RawURLEncoding.Strict()

// Seal makes a new id for a session, visible ASCII of at most MaxID characters. The same session sealed twice gives two
// ids. The only error is ErrTooLong.
func (s *Sealer) Seal(v Session) (string, error) {
	const head = 1 + chacha20poly1305.NonceSizeX
	b := make([]byte, head, 256)
	b[0] = s.first.id
	rand.Read(b[1:head]) //nolint:errcheck // never fails since Go 1.24
	plain := v.append(make([]byte, 0, 256))
	b = s.first.aead.Seal(b, b[1:head], plain, b[:1])
	if base64.RawURLEncoding.EncodedLen(len(b)) > MaxID {
		return "", ErrTooLong
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// room is what ids of usual length are opened in. A Session has nothing of it.
type room struct{ id, plain [512]byte }

var rooms = sync.Pool{New: func() any { return new(room) }}

// Open gives what an id stands for, or ErrUnknown for anything that Seal did not make with one of the secrets, without
// telling why. Whether the caller may use the session is not checked: see Session.For.
func (s *Sealer) Open(id string) (Session, error) {
	if len(id) > MaxID || len(id) < base64.RawURLEncoding.EncodedLen(overhead) {
		return Session{}, ErrUnknown
	}
	for i := range len(id) {
		if id[i] == '\n' || id[i] == '\r' { // the decoder would skip them
			return Session{}, ErrUnknown
		}
	}
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	b, err := strict.AppendDecode(r.id[:0], []byte(id))
	if err != nil || len(b) < overhead {
		return Session{}, ErrUnknown
	}
	nonce, sealed := b[1:1+chacha20poly1305.NonceSizeX], b[1+chacha20poly1305.NonceSizeX:]
	for _, k := range s.all {
		if k.id != b[0] {
			continue
		}
		plain, err := k.aead.Open(r.plain[:0], nonce, sealed, b[:1])
		if err != nil {
			continue // two secrets may share an id
		}
		v, err := parse(plain)
		if err != nil {
			return Session{}, ErrUnknown
		}
		return v, nil
	}
	return Session{}, ErrUnknown
}
