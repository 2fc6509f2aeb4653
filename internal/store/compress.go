package store

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// compressFrom is the size from which compressing pays: definitions of services come to a quarter or less, and they are
// most of what a store holds.
const compressFrom = 1 << 10

// maxRatio is more than flate ever reaches (RFC 1951: 258 bytes from two bits).
const maxRatio = 1100

var (
	compressors   = sync.Pool{New: func() any { w, _ := flate.NewWriter(io.Discard, flate.BestSpeed); return w }}
	decompressors = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}
)

// compress gives b compressed, nil if that does not pay.
func compress(b []byte) []byte {
	if len(b) < compressFrom {
		return nil
	}
	var packed bytes.Buffer
	packed.Grow(len(b) / 2)
	w := compressors.Get().(*flate.Writer)
	defer compressors.Put(w)
	w.Reset(&packed)
	_, _ = w.Write(b) // a Buffer takes everything
	_ = w.Close()
	if packed.Len() > len(b)*3/4 {
		return nil
	}
	return packed.Bytes()
}

// decompress gives the size bytes that compress was given.
func decompress(packed []byte, size int) ([]byte, error) {
	if size < 0 || size > maxRatio*(len(packed)+1) {
		return nil, errors.New("its length cannot be right")
	}
	r := decompressors.Get().(io.ReadCloser)
	defer decompressors.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(packed), nil); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	return b, nil
}
