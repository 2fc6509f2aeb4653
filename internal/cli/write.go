package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/nacos"
)

// outcome is what a writing command says in JSON: always one object, however many documents it wrote.
type outcome struct {
	Documents []written `json:"documents"`
	DryRun    bool      `json:"dryRun,omitempty"`
	Consumer  string    `json:"consumer,omitempty"`
	KeyID     string    `json:"keyId,omitempty"`
	Key       string    `json:"key,omitempty"` // a new one; shown here and never again
}

// written is what became of one document.
type written struct {
	Document string   `json:"document"`
	Action   string   `json:"action"` // created, updated, removed, unchanged, or none where a dry run shows an import; in a dry run, what it would be
	MD5      string   `json:"md5,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

func (p *program) outcome(all ...written) outcome {
	return outcome{Documents: all, DryRun: p.dryRun}
}

// unlessChanged is an edit of one document: what it was when it was read, and what it is to be.
type unlessChanged struct {
	before nacos.Document // without content if there was none
	exists bool
	after  string
	brief  bool // a new document is not shown: nobody wrote it by hand

	credentials map[string]string // what is known of those that it needs, by name
}

// write writes an edit that the proxy would take, shows what changes, and fails where somebody else was faster.
func (p *program) write(ctx context.Context, d *documents, e unlessChanged) (written, error) {
	if e.same() {
		return p.put(ctx, d, e, nil)
	}
	warnings, err := p.admit(ctx, d, e)
	if err != nil {
		return written{}, err
	}
	return p.put(ctx, d, e, warnings[e.before.Key])
}

// same tells whether an edit changes nothing.
func (e unlessChanged) same() bool { return e.exists && string(e.before.Content) == e.after }

// put writes an edit that was admitted.
func (p *program) put(ctx context.Context, d *documents, e unlessChanged, warnings []string) (written, error) {
	key := e.before.Key
	w := written{Document: key.String(), Action: "updated", Warnings: warnings}
	expect := e.before.MD5
	if !e.exists {
		w.Action, expect = "created", nacos.AbsentMD5
	}
	if e.same() {
		w.Action, w.MD5 = "unchanged", e.before.MD5
		p.say("%s: nothing to change", key)
		return w, nil
	}
	show := func() {
		if e.exists || !e.brief {
			p.say("%s", trimNewline(difference(key, string(e.before.Content), e.after)))
		}
	}
	if p.dryRun {
		p.say("%s: would be %s", key, w.Action)
		show()
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
		return w, doubt(err, again)
	}
	p.say("%s: %s", key, w.Action)
	show()
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
		p.note("What they changed:\n%s", trimNewline(difference(key, string(e.before.Content), string(theirs.Content))))
	}
	p.note("What you want in place of theirs:\n%s", trimNewline(difference(key, string(theirs.Content), e.after)))
	return fail(exitConflict, "nothing was written: run the command again to apply it to their version, or with --force to overwrite theirs with yours")
}

// remove deletes a document.
func (p *program) remove(ctx context.Context, d *documents, doc nacos.Document) (written, error) {
	w := written{Document: doc.Key.String(), Action: "removed"}
	before := trimNewline(difference(doc.Key, string(doc.Content), ""))
	if p.dryRun {
		p.say("%s: would be removed\n%s", doc.Key, before)
		p.say("dry run: nothing was written")
		return w, nil
	}
	if err := d.of(doc.Key.Group).Remove(ctx, doc.Key); err != nil {
		return w, doubt(err, "%s may have been removed: run the command again, it says so then.", doc.Key)
	}
	p.say("%s: removed\n%s", doc.Key, before)
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

// create writes a new document: a template with the edit applied.
func (p *program) create(ctx context.Context, d *documents, doc nacos.Document, template string, change func(*document) error) (written, error) {
	tree, err := openDocument(doc.Key.DataID, template)
	if err != nil {
		return written{}, err
	}
	if err := change(tree); err != nil {
		return written{}, err
	}
	after, err := tree.String()
	if err != nil {
		return written{}, err
	}
	return p.write(ctx, d, unlessChanged{before: doc, after: after})
}

// firstRejection is the first fault that is more than a warning.
func firstRejection(found []registry.Rejection) string {
	for _, r := range found {
		if !r.Warning {
			return r.Error()
		}
	}
	return ""
}
