package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A document of the crash test carries the digest of the rest of it, so that a mix of two versions shows.
func crashDocument(id string, n int) Record {
	body := strings.Repeat(fmt.Sprintf("%s version %d\n", id, n), 1+n%300)
	sum := sha256.Sum256([]byte(body))
	return Record{Group: "g", DataID: id, Content: []byte(hex.EncodeToString(sum[:]) + fmt.Sprintf("%09d", n) + body), MD5: fmt.Sprint(n)}
}

// crashWriter runs in a process of its own until it is killed. It says on stdout what is on disk for certain.
func crashWriter(dir string) {
	s, err := Open(Options{Dir: dir, Identity: testIdentity})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	start, _ := strconv.Atoi(os.Getenv("STORE_TEST_CRASH_FROM"))
	for n := start; ; n++ {
		for i := range 5 {
			s.Put(crashDocument(fmt.Sprint("doc", (n+i)%20), n))
		}
		ctx, cancel := contextFor(10 * time.Second)
		if err := s.Flush(ctx); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		cancel()
		fmt.Println("done", n)
	}
}

// A killed process does not lose what the kernel has, so this does not show the syncing of bbolt. It was seen to fail
// with a Flush that does not wait.
func TestA05_KilledAtRandomPointsEveryDocumentIsWhole(t *testing.T) {
	dir := t.TempDir()
	from, writes, kills := 0, 0, 0
	deadline := time.Now().Add(60 * time.Second)
	for writes < 1000 && time.Now().Before(deadline) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TEST_CRASH_DIR="+dir, "STORE_TEST_CRASH_FROM="+fmt.Sprint(from))
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(150+rand.IntN(900)) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		kills++
		if strings.Contains(out.String(), "error") {
			t.Fatal(out.String())
		}
		last := from - 1
		lines := strings.Split(out.String(), "\n")
		for _, line := range lines[:len(lines)-1] {
			n, err := strconv.Atoi(strings.TrimPrefix(line, "done "))
			if err != nil {
				t.Fatal(err)
			}
			last = n
		}
		s := open(t, dir)
		newest := -1
		err := s.Load(func(r Record) {
			sum, body := string(r.Content[:64]), r.Content[73:]
			n, _ := strconv.Atoi(string(r.Content[64:73]))
			if have := sha256.Sum256(body); hex.EncodeToString(have[:]) != sum || fmt.Sprint(n) != r.MD5 {
				t.Errorf("%s: mix of versions", r.DataID)
			}
			newest = max(newest, n)
		})
		if err != nil {
			t.Fatal(err)
		}
		if newest < last {
			t.Errorf("version %d was on disk, %d is", last, newest)
		}
		if d := s.Status().Damage; len(d) > 0 {
			t.Errorf("damage: %q", d)
		}
		s.Close()
		writes += (last + 1 - from) * 5
		from = last + 2
	}
	t.Logf("%d writes, %d kills", writes, kills)
	if writes < 1000 {
		t.Errorf("only %d writes", writes)
	}
}

// filled makes a store of a few hundred records with branches, overflow pages and inline buckets.
func filled(t *testing.T) (dir, path string, want map[string]string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir)
	want = map[string]string{}
	for i := range 300 {
		// Noise, as pages of all kinds are needed.
		r := record(fmt.Sprintf("doc%03d", i), fmt.Sprintf("document %d %s", i, noise(12*(i%40)*(1+i%7*5))))
		want["g/"+r.DataID] = string(r.Content)
		s.Put(r)
	}
	s.PutInstances(Service{"", "g", "s"}, []Instance{{Host: "h", Port: 1}})
	flush(t, s)
	for i := 0; i < 300; i += 3 { // a second version, so that there are free pages
		r := record(fmt.Sprintf("doc%03d", i), fmt.Sprint("second ", i))
		want["g/"+r.DataID] = string(r.Content)
		s.Put(r)
	}
	s.Close()
	return dir, s.path, want
}

// damagedStore opens a damaged copy and checks that what it gives is right, and whether it says that something is missing.
func damagedStore(t *testing.T, name string, path string, file []byte, want map[string]string) {
	t.Helper()
	dir := t.TempDir()
	copied := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(copied, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir, Identity: testIdentity})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer s.Close()
	got := loaded(t, s)
	for id, content := range got {
		if want[id] != content && !strings.HasPrefix(want[id], "second ") {
			t.Errorf("%s: %s has the wrong content", name, id)
		}
	}
	damage := s.Status().Damage
	if len(got) < len(want) && len(damage) == 0 {
		t.Errorf("%s: %d of %d documents, and nothing said", name, len(got), len(want))
	}
	for id, content := range want {
		if got[id] != content && len(damage) == 0 {
			t.Errorf("%s: %s is old or lost, and nothing said", name, id)
		}
	}
	if len(damage) > 0 {
		if aside, _ := filepath.Glob(copied + ".damaged-*"); len(aside) != 1 {
			t.Errorf("%s: damaged but not set aside: %q", name, damage)
		}
	}
	s.Put(record("new", "x")) // it is a working store again
	flush(t, s)
	if err := s.db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	}); err != nil {
		t.Errorf("%s: bbolt's own check: %v", name, err)
	}
}

// Without inspect, most of the flips end the test's process: bbolt panics or reads behind the end of the mapping.
func TestA05_FlippedBytesAreNoticed(t *testing.T) {
	_, path, want := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damagedStore(t, "undamaged", path, whole, want)
	random := rand.New(rand.NewPCG(1, 2))
	n := 120
	if testing.Short() {
		n = 30
	}
	for i := range n {
		file := bytes.Clone(whole)
		at := random.IntN(len(file))
		if i%2 == 0 { // where the structure is
			at = random.IntN(len(file)/4096)*4096 + random.IntN(96)
		}
		file[at] ^= byte(1 + random.IntN(255))
		damagedStore(t, fmt.Sprintf("byte %d", at), path, file, want)
	}
}

func TestA05_CutFilesAreNoticed(t *testing.T) {
	_, path, want := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	sizes := []int{1, 15, 16, 80, 4095, 4096, 4097, 8192, 16384, len(whole) - 1, len(whole) / 2}
	for range 20 {
		sizes = append(sizes, random.IntN(len(whole)))
	}
	for _, size := range sizes {
		damagedStore(t, fmt.Sprintf("cut to %d", size), path, whole[:size], want)
	}
	damagedStore(t, "all zeros", path, make([]byte, 16384), want)
	damagedStore(t, "text", path, []byte(strings.Repeat("this is no store\n", 1000)), want)
	file := bytes.Clone(whole) // a hole, as a file system may leave after a power cut
	clear(file[8192:16384])
	damagedStore(t, "hole", path, file, want)
}

func TestDamagedRecordIsNamed(t *testing.T) {
	_, path, want := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(whole, []byte("document 100 "))
	whole[at] = 'D'
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, filepath.Base(path)), whole, 0o600)
	s := open(t, dir)
	got := loaded(t, s)
	if _, ok := got["g/doc100"]; ok || len(got) != len(want)-1 {
		t.Errorf("%d documents", len(got))
	}
	if d := s.Status().Damage; len(d) != 2 || d[0] != `document "g/doc100": damaged: checksum does not match; left out` ||
		!strings.Contains(d[1], "; 302 records were taken over") {
		t.Errorf("damage: %q", d)
	}
}

func FuzzInspect(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(Options{Dir: dir, Identity: testIdentity})
	if err != nil {
		f.Fatal(err)
	}
	s.Put(record("a", "content"), record("b", noise(9000)))
	s.Close()
	whole, err := os.ReadFile(s.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(4096*3+10), []byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, at uint32, with []byte) {
		file := bytes.Clone(whole)
		copy(file[int(at)%len(file):], with)
		w := &walker{f: bytes.NewReader(file), size: int64(len(file)), kept: map[slot]op{}}
		w.whole() // neither panics nor hangs
		for at, o := range w.kept {
			if _, err := unpack(at, o.value); err != nil {
				t.Error("kept a damaged record")
			}
		}
	})
}
