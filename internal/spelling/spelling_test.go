package spelling

import (
	"strings"
	"testing"
)

func TestNearestFindsWhatWasMeant(t *testing.T) {
	known := []string{"tools", "tool", "upstream", "auth", "getPet", "NMP_LISTEN", strings.Repeat("x", 80)}
	for written, want := range map[string]string{
		"tols": "tools", "otols": "tools", "upstraem": "upstream", "UPSTREAM": "upstream", "uptrem": "upstream",
		"getpet": "getPet", "nmp_listen": "NMP_LISTEN", "auht": "auth", "ath": "auth",
		"": "", "a": "", "ab": "", "port": "", "xxx": "", "description": "",
		strings.Repeat("x", 79): "", strings.Repeat("y", 1<<20): "",
	} {
		if got := Nearest(written, known); got != want {
			t.Errorf("%.20q: %q, want %q", written, got, want)
		}
	}
}

func TestNearestPrefersTheLikest(t *testing.T) {
	for _, known := range [][]string{{"alicia", "alice"}, {"alice", "alicia"}} {
		if got := Nearest("alise", known); got != "alice" {
			t.Errorf("of %q: %q", known, got)
		}
	}
	if got := Nearest("pot", []string{"pit", "pat", "pet"}); got != "pat" {
		t.Errorf("of several alike the first in the alphabet was to be taken, not %q", got)
	}
}

func TestDidYouMeanIsNothingWithoutAGuess(t *testing.T) {
	if got := DidYouMean("auht", []string{"auth"}); got != ` (did you mean "auth"?)` {
		t.Errorf("%q", got)
	}
	if got := DidYouMean("auth", nil); got != "" {
		t.Errorf("%q", got)
	}
}
