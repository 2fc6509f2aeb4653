package wire

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// The strict reference: another parser of messages, written for clarity and apart from Scan. It builds a tree, keeps
// duplicates in order, and then applies the rules as Scan documents them.

type refNode struct {
	raw     string
	kind    byte   // { [ " 0 t f n
	text    string // of a string
	lone    bool   // the string has a lone surrogate
	members []refMember
}

type refMember struct {
	name  refNode
	value refNode
}

type refParser struct {
	s string
	i int
}

var errRef = errors.New("refused by the reference")

func refParse(body []byte) (refNode, error) {
	if !utf8.Valid(body) {
		return refNode{}, errRef
	}
	p := &refParser{s: string(body)}
	n, err := p.value(0)
	if err != nil {
		return n, err
	}
	if strings.Trim(p.s[p.i:], " \t\r\n") != "" {
		return n, errRef
	}
	return n, nil
}

func (p *refParser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *refParser) take(c byte) bool {
	p.space()
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *refParser) value(depth int) (refNode, error) {
	p.space()
	if p.i == len(p.s) || depth > MaxDepth {
		return refNode{}, errRef
	}
	begin, n := p.i, refNode{kind: p.s[p.i]}
	var err error
	switch n.kind {
	case '{':
		p.i++
		for first := true; !p.take('}'); first = false {
			if !first && !p.take(',') {
				return n, errRef
			}
			p.space()
			var m refMember
			if p.i == len(p.s) || p.s[p.i] != '"' {
				return n, errRef
			}
			if m.name, err = p.value(depth); err != nil {
				return n, err
			}
			if !p.take(':') {
				return n, errRef
			}
			if m.value, err = p.value(depth + 1); err != nil {
				return n, err
			}
			n.members = append(n.members, m)
		}
	case '[':
		p.i++
		for first := true; !p.take(']'); first = false {
			if !first && !p.take(',') {
				return n, errRef
			}
			if _, err = p.value(depth + 1); err != nil {
				return n, err
			}
		}
	default: // let encoding/json judge the scalar
		end := p.i + 1
		if n.kind == '"' {
			for end < len(p.s) && p.s[end] != '"' {
				if p.s[end] == '\\' {
					end++
				}
				end++
			}
			end++
		} else {
			for end < len(p.s) && strings.IndexByte(" \t\r\n,:]}[{\"", p.s[end]) < 0 {
				end++
			}
			if strings.IndexByte("-0123456789", n.kind) >= 0 {
				n.kind = '0'
			}
		}
		if end > len(p.s) || !json.Valid([]byte(p.s[p.i:end])) {
			return n, errRef
		}
		p.i = end
	}
	// A container at depth d makes depth d+1; one deeper than the limit is refused even if it is empty.
	if (n.kind == '{' || n.kind == '[') && depth+1 > MaxDepth {
		return n, errRef
	}
	n.raw = p.s[begin:p.i]
	if n.kind == '"' {
		if err := json.Unmarshal([]byte(n.raw), &n.text); err != nil {
			return n, errRef
		}
		n.lone = refLone(n.raw)
	}
	return n, nil
}

// refLone looks for lone surrogates the slow way: decode with a marker wherever encoding/json puts U+FFFD for an escape.
func refLone(raw string) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		four := strings.ToLower(raw[i+1 : i+5])
		switch {
		case four >= "d800" && four <= "dbff":
			rest := raw[i+5:]
			if len(rest) < 6 || rest[:2] != `\u` {
				return true
			}
			low := strings.ToLower(rest[2:6])
			if low < "dc00" || low > "dfff" {
				return true
			}
			i += 10
		case four >= "dc00" && four <= "dfff":
			return true
		}
	}
	return false
}

var (
	refEnvelopeNames = []string{"jsonrpc", "id", "method", "params", "result", "error"}
	refParamsNames   = []string{"name", "uri", "arguments", "_meta", "cursor", "requestId", "protocolVersion", "capabilities",
		"clientInfo", "level", "ref", "argument", "notifications", "progressToken", "task", "taskId", "inputResponses", "requestState"}
	refMetaNames = []string{"progressToken", MetaProtocolVersion, MetaClientCapabilities, MetaClientInfo, MetaLogLevel}
)

// refFold drops what lenient decoders drop and folds case as strings.EqualFold does.
func refFold(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch {
		case r <= ' ' || r == '_' || r == '-':
		case strings.EqualFold(string(r), "k"):
			out.WriteByte('k')
		case strings.EqualFold(string(r), "s"):
			out.WriteByte('s')
		case r == 'İ' || r == 'ı':
			out.WriteByte('i')
		default:
			out.WriteString(strings.ToLower(string(r)))
		}
	}
	return out.String()
}

// refFields gives an object's members by name, or an error for duplicates, variants, lone surrogates and NULs among names.
func refFields(n refNode, names []string) (map[string]refNode, error) {
	out := map[string]refNode{}
	for _, m := range n.members {
		name := m.name.text
		if m.name.lone || strings.ContainsRune(name, 0) {
			return nil, errRef
		}
		if slices.Contains(names, name) {
			if _, dup := out[name]; dup {
				return nil, errRef
			}
			out[name] = m.value
			continue
		}
		for _, ours := range names {
			if refFold(ours) == refFold(name) && !(ours == "_meta" && name == "meta") {
				return nil, errRef
			}
		}
	}
	return out, nil
}

// refMessage is what the reference reads of a message.
type refMessage struct {
	kind             Kind
	method, name, id string
}

var refKnown = []string{MethodInitialize, MethodDiscover, MethodPing, MethodToolsList, MethodToolsCall, MethodResourcesList,
	MethodResourceTemplatesList, MethodResourcesRead, MethodResourcesSubscribe, MethodResourcesUnsubscribe, MethodPromptsList,
	MethodPromptsGet, MethodComplete, MethodSetLevel, MethodListen, MethodTasksGet, MethodTasksResult, MethodTasksList,
	MethodTasksCancel, MethodTasksUpdate, MethodSampling, MethodElicit, MethodRootsList, NotificationInitialized,
	NotificationCancelled, NotificationProgress, NotificationMessage, NotificationRootsListChanged,
	NotificationToolsListChanged, NotificationPromptsListChanged, NotificationResourcesListChanged,
	NotificationResourcesUpdated, NotificationAcknowledged}

func refScan(root refNode) (m refMessage, err error) {
	if root.kind != '{' {
		return m, errRef
	}
	env, err := refFields(root, refEnvelopeNames)
	if err != nil {
		return m, err
	}
	var params, meta map[string]refNode
	if p, ok := env["params"]; ok && p.kind != 'n' {
		if p.kind != '{' {
			return m, errRef
		}
		if params, err = refFields(p, refParamsNames); err != nil {
			return m, err
		}
		if mt, ok := params["_meta"]; ok && mt.kind != 'n' {
			if mt.kind != '{' {
				return m, errRef
			}
			if meta, err = refFields(mt, refMetaNames); err != nil {
				return m, err
			}
		}
	}
	plain := func(n refNode) bool {
		return n.kind == '"' && !n.lone && !strings.ContainsRune(n.text, 0)
	}
	if !plain(env["jsonrpc"]) || env["jsonrpc"].text != "2.0" {
		return m, errRef
	}
	id, hasID := env["id"]
	if hasID && id.kind != '"' && id.kind != '0' && id.kind != 'n' {
		return m, errRef
	}
	m.id = id.raw
	result, hasResult := env["result"]
	failure, hasError := env["error"]
	hasError = hasError && failure.kind != 'n'
	method, hasMethod := env["method"]
	if !hasMethod {
		hasResult = hasResult && !(hasError && result.kind == 'n')
		if hasResult == hasError || params != nil || !hasID || id.kind == 'n' && !hasError {
			return m, errRef
		}
		m.kind = Response
		return m, nil
	}
	if hasError || hasResult && result.kind != 'n' || !plain(method) || id.kind == 'n' {
		return m, errRef
	}
	m.method = method.text
	known := slices.Contains(refKnown, m.method)
	for _, k := range refKnown {
		trimmed := strings.TrimFunc(m.method, func(r rune) bool { return r <= ' ' || r == '/' })
		if !known && refFold(k) == refFold(trimmed) {
			return m, errRef
		}
	}
	m.kind = Request
	if !hasID {
		m.kind = Notification
		if known && !strings.HasPrefix(m.method, "notifications/") {
			return m, errRef
		}
	}
	switch m.method {
	case MethodToolsCall, MethodPromptsGet:
		if !plain(params["name"]) {
			return m, errRef
		}
		m.name = params["name"].text
	case MethodResourcesRead, MethodResourcesSubscribe, MethodResourcesUnsubscribe:
		if _, has := params["uri"]; !plain(params["uri"]) && (has || m.method == MethodResourcesRead) {
			return m, errRef
		}
		m.name = params["uri"].text
	}
	if v := meta[MetaProtocolVersion]; v.kind == '"' {
		if !plain(v) {
			return m, errRef
		}
	} else if v := params["protocolVersion"]; m.method == MethodInitialize && v.kind == '"' && !plain(v) {
		return m, errRef
	}
	return m, nil
}
