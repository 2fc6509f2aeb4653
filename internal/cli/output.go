package cli

import (
	"errors"
	"io"
	"os/signal"
	"syscall"
)

// output is where a command prints. What cannot be printed ends nothing: a reader that goes away, as head does, must not
// leave half of what is to be written undone.
type output struct {
	to  io.Writer
	err error // the first one; nothing is printed after it
}

func (o *output) Write(b []byte) (int, error) {
	if o.err == nil {
		_, o.err = o.to.Write(b)
	}
	return len(b), nil
}

// surviveReaders has writes to a pipe without a reader fail. Without it, they end the process (os/signal, SIGPIPE).
func surviveReaders() { signal.Ignore(syscall.SIGPIPE) }

// printed says what could not be printed and matters: a new key, which is lost, or anything where the reader did not leave
// of its own accord.
func (p *program) printed() error {
	err := p.printing.err
	switch {
	case p.unseen != nil && err != nil:
		return fail(exitFailed, "the key %s of %s is stored, but it could not be printed, and nobody has seen it: %w\n"+
			"consumers keys revoke %s %s removes it, and consumers keys add %s makes another one.", p.unseen.KeyID, p.unseen.Consumer, err,
			p.unseen.Consumer, p.unseen.KeyID, p.unseen.Consumer)
	case err != nil && !errors.Is(err, syscall.EPIPE):
		return fail(exitFailed, "print the output: %w", err)
	}
	return nil
}
