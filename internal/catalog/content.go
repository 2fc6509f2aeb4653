package catalog

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"sync"
)

// content is a document's bytes as an Index keeps them. Large ones are compressed: they are read again only when a
// service is compiled, and of tens of thousands of services few are at a time.
type content struct {
	bytes []byte
	size  int // of the document if bytes are compressed, else 0
}

// packFrom is the size from which compressing pays.
const packFrom = 1 << 10

var (
	packers   = sync.Pool{New: func() any { w, _ := flate.NewWriter(io.Discard, flate.BestSpeed); return w }}
	unpackers = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}
)

// pack keeps b, which must not be changed afterwards.
func pack(b []byte) content {
	if len(b) >= packFrom {
		var packed bytes.Buffer
		w := packers.Get().(*flate.Writer)
		w.Reset(&packed)
		_, _ = w.Write(b) // a Buffer takes everything
		_ = w.Close()
		packers.Put(w)
		if packed.Len() < len(b)*3/4 {
			return content{bytes: bytes.Clone(packed.Bytes()), size: len(b)}
		}
	}
	if cap(b) > len(b)+len(b)/8 { // read into a buffer that had grown
		b = slices.Clip(bytes.Clone(b))
	}
	return content{bytes: b}
}

// pieceSize is how much many small contents share.
const pieceSize = 32 << 10

// join has contents lie together in few pieces of memory: of tens of thousands of documents the garbage collector looks at
// each piece. A piece lives as long as one of its contents. So only those of documents that come for the first time should
// share some: then all pieces are never more than all documents were at first, however they are edited.
func join(all []*content) {
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && (n == 0 || size+len(all[n].bytes) <= pieceSize) {
			size += len(all[n].bytes)
			n++
		}
		if n > 1 {
			piece := make([]byte, 0, size)
			for _, c := range all[:n] {
				at := len(piece)
				piece = append(piece, c.bytes...)
				if c.bytes != nil {
					c.bytes = piece[at:len(piece):len(piece)]
				}
			}
		}
		all = all[n:]
	}
}

// open gives the bytes. They must not be changed.
func (c content) open() []byte {
	if c.size == 0 {
		return c.bytes
	}
	b := make([]byte, c.size)
	r := unpackers.Get().(io.ReadCloser)
	defer unpackers.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(c.bytes), nil); err != nil {
		panic("catalog: " + err.Error()) // what pack wrote is in memory only
	}
	if _, err := io.ReadFull(r, b); err != nil {
		panic("catalog: " + err.Error())
	}
	return b
}

func (c content) equal(b []byte) bool {
	if c.size == 0 {
		return bytes.Equal(c.bytes, b)
	}
	return c.size == len(b) && bytes.Equal(c.open(), b)
}
