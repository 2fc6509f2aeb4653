package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/convert"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// written is what a writing command says in JSON.
type written struct {
	Document string   `json:"document"`
	Action   string   `json:"action"` // created, updated, removed or unchanged
	DryRun   bool     `json:"dryRun,omitempty"`
	MD5      string   `json:"md5,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Consumer string   `json:"consumer,omitempty"`
	KeyID    string   `json:"keyId,omitempty"`
	Key      string   `json:"key,omitempty"` // a new one; shown here and never again
}

// unlessChanged is an edit of one document: what it was when it was read, and what it is to be.
type unlessChanged struct {
	before nacos.Document // without content if there was none
	exists bool
	after  string
	brief  bool // a new document is not shown: nobody wrote it by hand
}

// write validates and writes an edit, shows what changes, and fails where somebody else was faster.
func (p *program) write(ctx context.Context, d *documents, e unlessChanged) (written, error) {
	key := e.before.Key
	w := written{Document: key.String(), Action: "updated", DryRun: p.dryRun}
	expect := e.before.MD5
	if !e.exists {
		w.Action, expect = "created", nacos.AbsentMD5
	}
	if e.exists && string(e.before.Content) == e.after {
		w.Action, w.MD5 = "unchanged", e.before.MD5
		p.say("%s: nothing to change", key)
		return w, nil
	}
	rejected := false
	for _, r := range validate(key, []byte(e.after)) {
		if r.Warning {
			w.Warnings = append(w.Warnings, r.Error())
			p.note("%s", r.Error())
			continue
		}
		rejected = true
		p.note("%s", r.Error())
	}
	if rejected {
		if e.exists && rejectedAlready(e.before) {
			return w, fail(exitFailed, "%s is rejected as it stands, before this edit: mend it first, in the console or a file; nothing was written", key)
		}
		return w, fail(exitFailed, "%s would be rejected (see above); nothing was written", key)
	}
	p.say("%s: %s", key, w.Action)
	if e.exists || !e.brief {
		p.say("%s", trimNewline(diff(string(e.before.Content), e.after)))
	}
	if p.dryRun {
		p.say("dry run: nothing was written")
		return w, nil
	}
	if p.force {
		expect = nacos.AnyMD5
	}
	err := d.of(key.Group).Publish(ctx, nacos.Document{Key: key, Content: []byte(e.after)}, expect)
	if errors.Is(err, nacos.ErrConflict) {
		return w, p.conflict(ctx, d, e)
	}
	if err != nil {
		return w, err
	}
	w.MD5 = md5Of(e.after)
	return w, nil
}

// freshWait is how long a read may lag behind a write in Nacos.
const freshWait = 1500 * time.Millisecond

// conflict shows their version and ours.
func (p *program) conflict(ctx context.Context, d *documents, e unlessChanged) error {
	key := e.before.Key
	theirs, exists, err := d.get(ctx, key)
	for end := time.Now().Add(freshWait); err == nil && exists == e.exists && theirs.MD5 == e.before.MD5 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		theirs, exists, err = d.get(ctx, key)
	}
	if err != nil {
		return err
	}
	p.note("%s was changed by somebody else while it was being edited.", key)
	switch {
	case !exists:
		p.note("Now it does not exist any more.")
	default:
		p.note("What they changed:\n%s", trimNewline(diff(string(e.before.Content), string(theirs.Content))))
	}
	p.note("What you want in place of theirs:\n%s", trimNewline(diff(string(theirs.Content), e.after)))
	return fail(exitConflict, "nothing was written: run the command again to apply it to their version, or with --force to overwrite theirs with yours")
}

// rejectedAlready tells whether a document was bad before somebody edits it.
func rejectedAlready(doc nacos.Document) bool {
	for _, r := range validate(doc.Key, doc.Content) {
		if !r.Warning {
			return true
		}
	}
	return false
}

// validate finds what is wrong with one document by itself. `check` looks at documents together as well.
func validate(key nacos.Key, content []byte) []registry.Rejection {
	var found []registry.Rejection
	switch key.Group {
	case registry.GroupServices:
		var def *registry.Definition
		if def, found = registry.ParseService(key.DataID, content); def != nil && def.Kind.Converted() {
			_, more := convert.Compile(def, convert.Options{})
			found = append(found, more...)
		}
	case registry.GroupConsumers:
		_, found = registry.ParseConsumer(key.DataID, content)
	case registry.GroupGrants:
		_, found = registry.ParseGrants(key.DataID, content)
	case registry.GroupUpstreams:
		_, found = registry.ParseUpstream(key.DataID, content)
	}
	for i := range found {
		found[i].Group, found[i].DataID = key.Group, key.DataID
	}
	return found
}

// remove deletes a document.
func (p *program) remove(ctx context.Context, d *documents, doc nacos.Document) (written, error) {
	w := written{Document: doc.Key.String(), Action: "removed", DryRun: p.dryRun}
	p.say("%s: removed", doc.Key)
	p.say("%s", trimNewline(diff(string(doc.Content), "")))
	if p.dryRun {
		p.say("dry run: nothing was written")
		return w, nil
	}
	if err := d.of(doc.Key.Group).Remove(ctx, doc.Key); err != nil {
		return w, err
	}
	return w, nil
}

// edit reads the text of a document and gives it edited; the edit works on the tree.
func (p *program) edit(ctx context.Context, d *documents, doc nacos.Document, change func(*document) error) (written, error) {
	tree, err := openDocument(doc.Key.DataID, string(doc.Content))
	if err != nil {
		return written{}, fail(exitFailed, "edit %s: %w; mend it first, in the console or a file", doc.Key, err)
	}
	if err := change(tree); err != nil {
		return written{}, err
	}
	after, err := tree.String()
	if err != nil {
		return written{}, fmt.Errorf("edit %s: %w", doc.Key, err)
	}
	return p.write(ctx, d, unlessChanged{before: doc, exists: true, after: after})
}
