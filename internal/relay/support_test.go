package relay

import (
	"bytes"
	"compress/gzip"

	"github.com/google/go-cmp/cmp"
)

func zip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func diff(want, got any) string { return cmp.Diff(want, got) }
