package jsontext

import (
	"strings"
	"testing"
)

func BenchmarkAppendString(b *testing.B) {
	for name, s := range map[string]string{
		"short": "petId", "ASCII": strings.Repeat("Plain text, as most of it is. ", 40),
		"lines": strings.Repeat("{\n  \"name\": \"Lamp\",\n  \"price\": 12.5\n}\n", 30), "German": strings.Repeat("Grüße aus Österreich, schöne Straße. ", 30),
		"Chinese": strings.Repeat("工具返回的结果是中文文本。", 30),
	} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 8<<10)
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendString(dst[:0], s)
			}
		})
	}
}
