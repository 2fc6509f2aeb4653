package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const hidden = "correct horse battery"

// holder has one where fmt may call methods, and where it may not.
type holder struct {
	Open   Text
	closed Text
	list   []Text
	named  map[string]Text
	at     *Text
}

// Seen red with Format, LogValue and the pointer taken out in turn.
func TestSecretsPrintAsAMask(t *testing.T) {
	s := New(hidden)
	all := holder{s, s, []Text{s}, map[string]Text{"a": s}, &s}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("x", "s", s, "all", all, "list", all.list)
	}
	shown := []string{log.String(), s.String(), fmt.Sprint(s, &s, all, &all, all.list, all.named), fmt.Errorf("x: %w %v", fmt.Errorf("%s", s), s).Error()}
	for _, verb := range "vsqxXdtbcoUeEfFgGpT" {
		for _, flags := range []string{"", "+", "#", "-20", "0", " "} {
			for _, v := range []any{s, &s, all, &all, all.list, all.named, any(s)} {
				shown = append(shown, fmt.Sprintf("%"+flags+string(verb), v))
			}
		}
	}
	for _, got := range shown {
		if strings.Contains(got, "horse") || strings.Contains(got, fmt.Sprintf("%x", "horse")) || strings.Contains(got, fmt.Sprintf("%X", "horse")) {
			t.Errorf("shown: %s", got)
		}
	}
	if got := fmt.Sprintf("%d|%x|%t", s, s, &s); got != "••••|••••|••••" {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(log.String(), "s=••••") || !strings.Contains(log.String(), `"s":"••••"`) {
		t.Errorf("logged: %s", log.String())
	}
	if got := fmt.Sprintf("%v %q %s %v", s, s, New(""), Text{}); got != `•••• "••••"  ` {
		t.Errorf("got %q", got)
	}
	if s.Reveal() != hidden || New("").Reveal() != "" || !New("").Empty() || s.Empty() {
		t.Error("the text is not the one that went in")
	}
}

// Seen red without MarshalText (XML then writes an empty element) and without the array (which makes it comparable).
func TestSecretsCannotBeMarshalledOrCompared(t *testing.T) {
	v := struct {
		A string
		S Text
	}{"a", New(hidden)}
	for name, marshal := range map[string]func(any) ([]byte, error){
		"json": json.Marshal, "yaml": yaml.Marshal, "xml": xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		},
	} {
		for _, v := range []any{v, &v, v.S, []Text{v.S}} {
			if out, err := func() (out []byte, err error) {
				defer func() {
					if r := recover(); r != nil { // yaml panics with the error
						err = fmt.Errorf("%v", r)
					}
				}()
				return marshal(v)
			}(); err == nil || bytes.Contains(out, []byte("horse")) {
				t.Errorf("%s of %T: %s, %v", name, v, out, err)
			}
		}
	}
	if reflect.TypeFor[Text]().Comparable() {
		t.Error("secrets can be compared")
	}
}
