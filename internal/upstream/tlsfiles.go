package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/hostfile"
	"github.com/nacos-mcp-proxy/nacos-mcp-proxy/internal/registry"
)

// TLSFiles are the files that definitions of backends may name: those below one directory of the proxy's host. A document
// decides which of them is read and presented to whom, so nothing else may lie there. The zero value has none.
type TLSFiles struct {
	// Dir is absolute; empty: no file may be named.
	Dir string
	// Elsewhere: the directory is another machine's, so names are checked and files are not looked at.
	Elsewhere bool
}

// TLSFilesFor returns the files below dir as somebody sees them who may be on another machine than the proxy.
func TLSFilesFor(dir string) TLSFiles {
	return TLSFiles{Dir: dir, Elsewhere: dir != "" && hostfile.NoDir(dir)}
}

// TLSFault is why a TLS file of a definition is not taken. What it says ends up with whoever reads /status or writes the
// document, so it tells nothing of files outside of the directory.
type TLSFault struct {
	Field  string // ca, cert or key
	Line   int    // in its document; 0 where unknown
	Reason string

	Unchecked bool // nothing is known to be wrong, but the file was not looked at
}

// Error names field and reason.
func (f *TLSFault) Error() string { return "tls." + f.Field + ": " + f.Reason }

// Fault reports what is wrong with the names of t's files, without looking at any; nil if nothing is.
func (f TLSFiles) Fault(t *registry.TLS) *TLSFault {
	for _, file := range t.Files() {
		if f.Dir == "" {
			return &TLSFault{Field: file.Field, Line: file.Line, Reason: "names a file of the proxy's host, but upstream.tlsDir is not set in the boot configuration: no such file is read"}
		}
		if _, ok := hostfile.Within(f.Dir, file.Name); !ok {
			return &TLSFault{Field: file.Field, Line: file.Line, Reason: "is not below the directory that upstream.tlsDir names in the boot configuration"}
		}
	}
	return nil
}

// Check reads and parses the files of t and reports what is wrong with them; nil if nothing is.
func (f TLSFiles) Check(t *registry.TLS) *TLSFault {
	if fault := f.Fault(t); fault != nil {
		return fault
	}
	if files := t.Files(); f.Elsewhere && len(files) > 0 {
		return &TLSFault{
			Field: files[0].Field, Line: files[0].Line, Unchecked: true,
			Reason: "was not looked at: the directory that upstream.tlsDir names is not on this machine",
		}
	}
	_, err := f.load(t)
	if fault, ok := errors.AsType[*TLSFault](err); ok {
		return fault
	}
	return nil
}

// tlsMaterial is what the files of a definition hold.
type tlsMaterial struct {
	roots        *x509.CertPool // nil: the system's
	certificates []tls.Certificate
	digest       [sha256.Size]byte // of all files; zero without any
}

// load reads the files of t, which may be nil. Every error is a *TLSFault.
func (f TLSFiles) load(t *registry.TLS) (*tlsMaterial, error) {
	if fault := f.Fault(t); fault != nil {
		return nil, fault
	}
	m := &tlsMaterial{}
	content := map[string][]byte{}
	var last registry.TLSFile
	h := sha256.New()
	for _, file := range t.Files() {
		b, err := hostfile.ReadIn(f.Dir, file.Name)
		if err != nil {
			return nil, f.fault(file, err)
		}
		fmt.Fprintf(h, "%s:%d:", file.Field, len(b))
		h.Write(b)
		content[file.Field], last = b, file
	}
	if len(content) > 0 {
		m.digest = [sha256.Size]byte(h.Sum(nil))
	}
	if pem, ok := content["ca"]; ok {
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(pem) {
			return nil, &TLSFault{Field: "ca", Line: t.Files()[0].Line, Reason: "the file below upstream.tlsDir holds no PEM certificate"}
		}
	}
	if content["cert"] != nil || content["key"] != nil {
		pair, err := tls.X509KeyPair(content["cert"], content["key"])
		if err != nil {
			return nil, &TLSFault{Field: "cert", Line: last.Line, Reason: "the files below upstream.tlsDir are no certificate with its key: " + err.Error()}
		}
		m.certificates = []tls.Certificate{pair}
	}
	return m, nil
}

// fault says in whose words a file could not be read: a document's author knows names, the operator the setting.
func (f TLSFiles) fault(file registry.TLSFile, err error) *TLSFault {
	fault := &TLSFault{Field: file.Field, Line: file.Line}
	switch {
	case errors.Is(err, hostfile.ErrNotRegular), errors.Is(err, hostfile.ErrTooLarge):
		fault.Reason = err.Error() + "; only regular files of at most 1 MiB below upstream.tlsDir are read"
		return fault
	case hostfile.NoDir(f.Dir):
		fault.Reason = "upstream.tlsDir of the boot configuration names no directory that can be opened"
		return fault
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok { // without the path, which is the proxy's business
		err = e.Err
	}
	fault.Reason = "cannot be read below upstream.tlsDir: " + err.Error()
	return fault
}
