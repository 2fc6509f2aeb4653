package access

import "github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"

// Decision is the answer to "may this consumer do that".
type Decision struct {
	Allowed bool
	Level   Level // what allowed it or, where Reason is Expired, once did
	Reason  Reason
	Grant   *registry.Grant // behind Granted and Expired; else nil
	Pattern string          // tool level: the name or glob that the grant is on
}

// Level is where a grant stands.
type Level uint8

// Levels.
const (
	LevelNone    Level = iota
	LevelOpen          // the switch is off
	LevelService       // every tool, now and in future
	LevelTool          // the named tools
)

// String gives the word that logs and `grants explain` use.
func (l Level) String() string {
	return [...]string{"none", "open", "service", "tool"}[l]
}

// Reason is why.
type Reason uint8

// Reasons.
const (
	NoGrant Reason = iota
	Granted
	SwitchOff // anybody may
	Expired   // there was a grant
	NoKey     // no consumer is known
	ConsumerDisabled
)

// String gives the words that logs and `grants explain` use.
func (r Reason) String() string {
	return [...]string{"no grant", "granted", "switch off", "expired", "no key", "consumer disabled"}[r]
}

// State is whether a key counts.
type State uint8

// States of keys.
const (
	KeyOK State = iota
	KeyExpired
	KeyDisabled // the key, or its consumer
)

// String gives the word that /status uses.
func (s State) String() string { return [...]string{"ok", "expired", "disabled"}[s] }

// KeyState tells whether a consumer's key counts at now (unix nanoseconds). It counts up to its notAfter, not at it.
func KeyState(c *registry.Consumer, k *registry.Key, now int64) State {
	switch {
	case !c.Enabled || k.Disabled:
		return KeyDisabled
	case now >= instant(k.NotAfter):
		return KeyExpired
	}
	return KeyOK
}
