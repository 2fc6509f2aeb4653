package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

var errDamaged = errors.New("damaged")

// A value on disk is a CRC-32C over slot and body, then the body. A document's body is the length of its head, the
// head as JSON, and the content. (Before what was refused got a bucket of its own, it stood in the head and behind the content.)
const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(at slot, body []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte(at.bucket+"\x00"+at.key+"\x00"))
	return crc32.Update(sum, castagnoli, body)
}

// pack puts the checksum before a body.
func pack(at slot, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, sumSize+len(body)), checksum(at, body))
	return append(b, body...)
}

// unpack gives the body if it is what was packed for this slot.
func unpack(at slot, value []byte) ([]byte, error) {
	if len(value) < sumSize {
		return nil, fmt.Errorf("%w: cut off", errDamaged)
	}
	if binary.BigEndian.Uint32(value) != checksum(at, value[sumSize:]) {
		return nil, fmt.Errorf("%w: checksum does not match", errDamaged)
	}
	return value[sumSize:], nil
}

// head is what stands before a document's content. The name is in the slot.
type head struct {
	MD5      string    `json:",omitempty"`
	Since    time.Time `json:",omitzero"`
	Lost     bool      `json:",omitempty"` // there was something here that could not be read
	Absent   bool      `json:",omitempty"` // there is no content, as opposed to an empty one
	Sealed   bool      `json:",omitempty"`
	Barred   []string  `json:",omitempty"`
	Off      string    `json:",omitempty"`
	Disabled []string  `json:",omitempty"`
	Refused  *Refused  `json:",omitempty"`
	Behind   int       `json:",omitempty"` // bytes of the refused version's content
	Size     int       `json:",omitempty"` // of the contents together if they are compressed
}

func (s *Store) encode(at slot, r Record) ([]byte, error) {
	content := r.Content
	hd := head{MD5: r.MD5, Since: r.Since, Lost: r.Lost, Absent: content == nil, Sealed: r.Sealed, Barred: r.Barred, Off: r.Off, Disabled: r.Disabled}
	if packed := compress(content); packed != nil {
		hd.Size, content = len(content), packed
	}
	h, err := json.Marshal(hd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, sumSize, sumSize+binary.MaxVarintLen32+len(h)+len(content)+64)
	b = binary.AppendUvarint(b, uint64(len(h)))
	b = append(b, h...)
	if r.Sealed && content != nil {
		nonce := make([]byte, s.seal.NonceSize())
		if _, err := rand.Read(nonce); err != nil {
			return nil, err
		}
		b = append(b, nonce...)
		b = s.seal.Seal(b, nonce, content, []byte(at.key))
	} else {
		b = append(b, content...)
	}
	binary.BigEndian.PutUint32(b, checksum(at, b[sumSize:]))
	return b, nil
}

func (s *Store) decode(at slot, value []byte) (Record, error) {
	var r Record
	body, err := unpack(at, value)
	if err != nil {
		return r, err
	}
	n, w := binary.Uvarint(body)
	if w <= 0 || n > uint64(len(body)-w) {
		return r, fmt.Errorf("%w: head is cut off", errDamaged)
	}
	var h head
	if err := json.Unmarshal(body[w:w+int(n)], &h); err != nil {
		return r, fmt.Errorf("%w: %w", errDamaged, err)
	}
	r = Record{Lost: h.Lost, MD5: h.MD5, Since: h.Since, Refused: h.Refused, Sealed: h.Sealed, Barred: h.Barred, Off: h.Off, Disabled: h.Disabled}
	r.Group, r.DataID, _ = strings.Cut(at.key, "\x00")
	content := body[w+int(n):]
	switch {
	case h.Absent && h.Behind == 0:
		return r, nil
	case h.Sealed:
		size := s.seal.NonceSize()
		if len(content) < size {
			return Record{}, fmt.Errorf("%w: sealed content is cut off", errDamaged)
		}
		open, err := s.seal.Open(nil, content[:size], content[size:], []byte(at.key))
		if err != nil {
			return Record{}, errors.New("sealed with another key than the one beside the store")
		}
		content = open
	case h.Size == 0:
		content = slices.Clone(content) // what was given lies in the database
	}
	if h.Size != 0 {
		if content, err = decompress(content, h.Size); err != nil {
			return Record{}, fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	good := len(content) - h.Behind
	if good < 0 || h.Behind < 0 || h.Behind > 0 && h.Refused == nil {
		return Record{}, fmt.Errorf("%w: content is cut off", errDamaged)
	}
	if !h.Absent {
		if r.Content = content[:good:good]; r.Content == nil {
			r.Content = []byte{}
		}
	}
	if h.Behind > 0 {
		r.Refused.Content = content[good:]
	}
	return r, nil
}

func documentSlot(group, dataID string) slot { return slot{bucketDocuments, group + "\x00" + dataID} }

func instanceSlot(s Service) slot {
	return slot{bucketInstances, s.Namespace + "\x00" + s.Group + "\x00" + s.Service}
}

func refusedSlot(group, dataID string) slot { return slot{bucketRefused, group + "\x00" + dataID} }

// lost is what is kept in the place of what cannot be read any more: that there was something.
func (s *Store) lost(at slot) []byte {
	value, _ := s.encode(at, Record{Lost: true}) // plain data, and nothing to seal
	return value
}

func versionSlot(n VersionName) slot { return slot{bucketVersions, n.Service + "\x00" + n.Version} }

// name is the slot's key for people.
func (at slot) name() string { return strings.ReplaceAll(at.key, "\x00", "/") }

// openSeal reads the key for sealed records, and makes one if there is none. It lies beside the store, readable for
// its owner only; losing it loses the sealed records and nothing else.
func openSeal(path string) (cipher.AEAD, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(key) != 32 {
		key = make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		tmp := path + ".tmp"
		if err := os.WriteFile(tmp, key, 0o600); err != nil {
			return nil, err
		}
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return nil, err
	}
	return newSeal(key)
}

func newSeal(key []byte) (cipher.AEAD, error) {
	if len(key) != 32 {
		return nil, errors.New("its key is cut off")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
