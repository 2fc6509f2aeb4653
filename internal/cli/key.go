package cli

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// newKey makes nmp_<id>_<secret>, whose secret has over 256 random bits, and its digest in hex. Only the digest may be
// stored; the key is shown to whoever asked for it and forgotten.
func newKey(id string) (key, digest string) {
	key = "nmp_" + id + "_" + rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(key))
	return key, hex.EncodeToString(sum[:])
}

func md5Of(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// freeKeyID is the consumer's name with the first number that no other key has.
func freeKeyID(consumer string, keys *yaml.Node) string {
	taken := map[string]bool{}
	if keys != nil {
		for _, k := range keys.Content {
			taken[text(k, "id")] = true
		}
	}
	base := consumer[:min(len(consumer), 120)]
	for n := 1; ; n++ {
		if id := base + "-" + strconv.Itoa(n); !taken[id] {
			return id
		}
	}
}

// parseUntil reads --until: a time (RFC 3339), a day, whose end in UTC is meant, or how long from now (12h, 30d).
func parseUntil(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	until, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if day, e := time.Parse(time.DateOnly, s); e == nil {
			until, err = day.Add(24*time.Hour-time.Second), nil
		} else if days, ok := strings.CutSuffix(s, "d"); ok {
			if n, e := strconv.Atoi(days); e == nil && n > 0 && n < 36500 {
				until, err = now.AddDate(0, 0, n), nil
			}
		} else if d, e := time.ParseDuration(s); e == nil {
			until, err = now.Add(d), nil
		}
	}
	if err != nil {
		return until, fail(exitUsage, "--until %s: write a time (2026-12-31T18:00:00Z), a day (2026-12-31) or a span (12h, 30d)", s)
	}
	if !until.After(now) {
		return until, fail(exitUsage, "--until %s: that is over", s)
	}
	return until.UTC().Truncate(time.Second), nil
}

func timeNode(t time.Time) *yaml.Node { return literal("!!timestamp", t.UTC().Format(time.RFC3339)) }

func trimNewline(s string) string { return strings.TrimSuffix(s, "\n") }

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
