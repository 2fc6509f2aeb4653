package template

import (
	"fmt"
	"strings"
	"testing"
)

// pets is a response of about 10 KB with n elements of white-spaced JSON.
func pets(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"total": 50, "pets": [`)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"id": %d, "name": "pet \"%d\"", "price": %d.50, "tags": ["a", "b"], "owner": {"name": "o%d", "address": {"city": "Hangzhou"}}, "status": "available"}`, i, i, i, i)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func benchmark(b *testing.B, mode Mode, text string, data func() Value) {
	tmpl, err := Parse("bench", text, Options{Mode: mode})
	if err != nil {
		b.Fatal(err)
	}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		if out, err = tmpl.Execute(out[:0], data(), Env{}, Budget{}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(out)))
}

func BenchmarkResponseList(b *testing.B) {
	raw := pets(60)
	benchmark(b, Text, `{{range $i, $p := .pets}}{{if $i}}, {{end}}{{$p.name}} of {{$p.owner.name}} in {{.owner.address.city}}: {{$p.price}}{{end}}`, func() Value {
		v, err := ParseJSON(raw)
		if err != nil {
			b.Fatal(err)
		}
		return v
	})
}

func BenchmarkResponseFields(b *testing.B) {
	raw := []byte(`{"id": 7, "name": "Rex", "status": "available", "category": {"id": 1, "name": "dogs"}, "tags": []}`)
	benchmark(b, Text, `{{.name}} ({{.category.name}}) is {{.status}}`, func() Value {
		v, _ := ParseJSON(raw)
		return v
	})
}

func BenchmarkRequestURL(b *testing.B) {
	raw := []byte(`{"petId": 7, "q": "a b&c"}`)
	config, _ := ParseJSON([]byte(`{"base": "https://api.example.com/v1"}`))
	benchmark(b, URL, `{{.config.base}}/pets/{{.args.petId}}?q={{.args.q}}`, func() Value {
		args, _ := ParseJSON(raw)
		return Object(Member{"config", config}, Member{"args", args.Tainted()})
	})
}

func BenchmarkRequestBody(b *testing.B) {
	raw := []byte(`{"title": "a \"b\"", "labels": ["x", "y"], "n": 3}`)
	benchmark(b, JSONBody, `{"title": "{{.args.title}}", "labels": {{.args.labels | toJson}}, "n": {{.args.n}}, "x": {{add 1 .args.n}}}`, func() Value {
		args, _ := ParseJSON(raw)
		return Object(Member{"args", args.Tainted()})
	})
}

func BenchmarkParseJSON(b *testing.B) {
	raw := pets(60)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseJSON(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGJSON(b *testing.B) {
	v, err := ParseJSON(pets(60))
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, Text, `{{gjson "pets.#(id>55).name"}}`, func() Value { return v })
}
