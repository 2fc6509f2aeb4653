package convert

import "testing"

// TestCharsetOfADocument: the header says what text is encoded in, and where it does not, XML and HTML say it themselves.
// Seen red with media.encoding returning nil where the header has no charset.
func TestCharsetOfADocument(t *testing.T) {
	const (
		gbk    = "\xD5\xC5\xC8\xFD" // 张三
		latin  = "caf\xE9"
		euro   = "1 \x80"                   // windows-1252
		koi8   = "\xF0\xF2\xE9\xF7\xE5\xF4" // ПРИВЕТ
		jisEUC = "\xC6\xFC\xCB\xDC"         // 日本
		utf16  = "<\x00?\x00x\x00m\x00l\x00?\x00>\x00<\x00a\x00>\x00\xe9\x00<\x00/\x00a\x00>\x00"
	)
	for _, c := range []struct{ kind, body, want string }{
		{"text/xml", `<?xml version="1.0" encoding="GBK"?><a>` + gbk + `</a>`, `<?xml version="1.0" encoding="GBK"?><a>张三</a>`},
		{"application/xml", `<?xml version='1.0' encoding = 'gb2312' standalone='yes'?><a>` + gbk + `</a>`, `<?xml version='1.0' encoding = 'gb2312' standalone='yes'?><a>张三</a>`},
		{"application/rss+xml", `<?xml version="1.0" encoding="ISO-8859-1"?>` + latin, `<?xml version="1.0" encoding="ISO-8859-1"?>café`},
		{"image/svg+xml", `<?xml version="1.0" encoding="EUC-JP"?>` + jisEUC, `<?xml version="1.0" encoding="EUC-JP"?>日本`},
		{"text/xml", utf16, `<?xml?><a>é</a>`},
		{"text/xml", `<?xml version="1.0" encoding="utf-16"?><a>é</a>`, `<?xml version="1.0" encoding="utf-16"?><a>é</a>`},
		{"text/xml", `<?xml version="1.0"?><a>é</a>`, `<?xml version="1.0"?><a>é</a>`},
		{"text/xml", "<a encoding=\"GBK\">é</a>", "<a encoding=\"GBK\">é</a>"},
		{"text/xml; charset=utf-8", `<?xml version="1.0" encoding="GBK"?><a>é</a>`, `<?xml version="1.0" encoding="GBK"?><a>é</a>`},
		{"text/xml; charset=koi8-r", `<?xml version="1.0" encoding="GBK"?>` + koi8, `<?xml version="1.0" encoding="GBK"?>ПРИВЕТ`},
		{"text/xml; charset=nonsense", `<?xml version="1.0" encoding="GBK"?>` + gbk, `<?xml version="1.0" encoding="GBK"?>张三`},
		{"text/xml", "\xEF\xBB\xBF" + `<?xml version="1.0" encoding="GBK"?>é`, `<?xml version="1.0" encoding="GBK"?>é`},
		{"text/html", `<!doctype html><meta charset=gbk><p>` + gbk, `<!doctype html><meta charset=gbk><p>张三`},
		{"text/html", `<meta http-equiv="Content-Type" content="text/html; charset=gb2312"><p>` + gbk, `<meta http-equiv="Content-Type" content="text/html; charset=gb2312"><p>张三`},
		{"text/html", `<p>` + euro, `<p>1 €`},
		{"text/html", `<p>é`, `<p>é`},
		{"text/html", `<meta charset=windows-1252><p>é`, `<meta charset=windows-1252><p>é`},
		{"text/html; charset=utf-8", `<meta charset=gbk><p>é`, `<meta charset=gbk><p>é`},
		{"text/plain", `<?xml version="1.0" encoding="GBK"?>é`, `<?xml version="1.0" encoding="GBK"?>é`},
		{"application/json", "{\"a\":\"\xE9\"}", "{\"a\":\"\uFFFD\"}"},
	} {
		if got, ok := mediaOf(c.kind).text([]byte(c.body)); !ok || string(got) != c.want {
			t.Errorf("%s %q: %q, want %q", c.kind, c.body, got, c.want)
		}
	}
}
