// Package secret has the type of texts that must not be shown: passwords, tokens, credentials of backends.
// It must never print one, put one into an error, or hand one out but through Reveal.
package secret

import (
	"errors"
	"fmt"
	"log/slog"
)

// Text is a text that prints as a mask, whatever prints it, and can be neither marshalled nor compared. The zero value is
// the empty text. It is immutable and safe for concurrent use.
type Text struct {
	_ [0]func() // not comparable: comparing stops at the first difference, and a map of secrets is one more place where they are
	p *string   // behind a pointer: fmt prints unexported fields of other structs without asking Format
}

// New makes a secret of a text.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{p: &s}
}

// Reveal returns the text itself, for the place that sends or checks it.
func (t Text) Reveal() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// Empty reports whether there is no text.
func (t Text) Empty() bool { return t.p == nil }

const mask = "••••"

// String returns a mask; nothing where there is no secret, since that is none.
func (t Text) String() string {
	if t.Empty() {
		return ""
	}
	return mask
}

// Format writes the mask, whatever the verb.
func (t Text) Format(f fmt.State, verb rune) {
	if verb == 'q' || f.Flag('#') {
		fmt.Fprintf(f, "%q", t.String())
		return
	}
	_, _ = f.Write([]byte(t.String()))
}

// LogValue is for slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

var errMarshal = errors.New("a secret cannot be marshalled")

// MarshalText fails, and with it JSON, YAML and XML; gob finds nothing to encode, which is an error, too.
func (t Text) MarshalText() ([]byte, error) { return nil, errMarshal }
