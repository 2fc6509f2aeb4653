package convert

import (
	"bytes"
	"mime"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// media is what a response says it is.
type media struct {
	kind    string // type/subtype in lower case, empty where unknown
	charset string
}

func mediaOf(contentType string) media {
	switch contentType { // the spellings nearly everybody uses
	case "", "application/json":
		return media{kind: contentType}
	case "application/json; charset=utf-8", "application/json;charset=utf-8":
		return media{kind: "application/json", charset: "utf-8"}
	case "application/json;charset=UTF-8", "application/json; charset=UTF-8":
		return media{kind: "application/json", charset: "UTF-8"}
	}
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil && kind == "" {
		kind, _, _ = strings.Cut(contentType, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	return media{kind, params["charset"]}
}

// text gives the body as UTF-8, or false if it is binary.
func (m media) text(body []byte) ([]byte, bool) {
	if !m.textual() && (m.binary() || !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0) {
		return nil, false
	}
	switch {
	case bytes.HasPrefix(body, []byte("\xEF\xBB\xBF")):
		return bytes.ToValidUTF8(body[3:], []byte("\uFFFD")), true
	case bytes.HasPrefix(body, []byte("\xFF\xFE")), bytes.HasPrefix(body, []byte("\xFE\xFF")):
		if out, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder().Bytes(body); err == nil {
			return out, true
		}
	}
	if enc := m.encoding(body); enc != nil {
		if out, err := enc.NewDecoder().Bytes(body); err == nil {
			return out, true
		}
	}
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	return body, true
}

// encoding returns what the text is encoded in, by the header or, where that says nothing, by the document itself; nil for
// UTF-8.
func (m media) encoding(body []byte) encoding.Encoding {
	if strings.EqualFold(m.charset, "utf-8") {
		return nil
	}
	if enc, err := htmlindex.Get(m.charset); m.charset != "" && err == nil {
		return enc
	}
	switch {
	case m.isXML():
		return xmlEncoding(body)
	case m.kind == "text/html":
		enc, name, _ := charset.DetermineEncoding(body, "")
		if name == "utf-8" || name == "windows-1252" && utf8.Valid(body) { // which is also what it says where nothing is declared
			return nil
		}
		return enc
	}
	return nil
}

func (m media) isXML() bool {
	return m.kind == "text/xml" || m.kind == "application/xml" || m.kind == "text/xml-external-parsed-entity" || strings.HasSuffix(m.kind, "+xml")
}

var xmlDeclaration = regexp.MustCompile(`^<\?xml\s[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']`)

// xmlEncoding returns what an XML document says that it is encoded in (XML 1.0, 4.3.3 and F; RFC 7303, 3.2); nil for UTF-8.
func xmlEncoding(body []byte) encoding.Encoding {
	switch {
	case bytes.HasPrefix(body, []byte("<\x00?\x00")):
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case bytes.HasPrefix(body, []byte("\x00<\x00?")):
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	}
	found := xmlDeclaration.FindSubmatch(body[:min(len(body), 300)])
	if found == nil {
		return nil
	}
	name := strings.ToLower(string(found[1]))
	if strings.HasPrefix(name, "utf-") { // what could be read so far is not UTF-16
		return nil
	}
	enc, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	return enc
}

// textual tells the types that are text whatever their bytes look like.
func (m media) textual() bool {
	if strings.HasPrefix(m.kind, "text/") || m.isJSON() || strings.HasSuffix(m.kind, "+xml") || strings.HasSuffix(m.kind, "+yaml") {
		return true
	}
	switch m.kind {
	case "application/xml", "application/javascript", "application/x-javascript", "application/x-www-form-urlencoded",
		"application/yaml", "application/x-yaml", "application/graphql", "application/x-ndjson", "application/ndjson", "application/jsonl":
		return true
	}
	return false
}

func (m media) isJSON() bool {
	return m.kind == "application/json" || m.kind == "text/json" || strings.HasSuffix(m.kind, "+json")
}

// binary tells the types that are not text even if their bytes happen to be.
func (m media) binary() bool {
	switch m.kind {
	case "application/pdf", "application/zip", "application/gzip", "application/x-tar", "application/x-7z-compressed":
		return true
	}
	return strings.HasPrefix(m.kind, "video/") || strings.HasPrefix(m.kind, "font/") || m.block() != ""
}

// block is the MCP content block for the type, if it has one of its own.
func (m media) block() string {
	switch {
	case m.kind == "image/svg+xml": // text: models read it, and clients show no SVG
		return ""
	case strings.HasPrefix(m.kind, "image/"):
		return "image"
	case strings.HasPrefix(m.kind, "audio/"):
		return "audio"
	}
	return ""
}
