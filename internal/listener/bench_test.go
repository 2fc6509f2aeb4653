package listener

import (
	"io"
	"net/http"
	"testing"
)

// exchanged gives a function that makes one call on a kept connection, without making garbage itself.
func exchanged(t testing.TB, s *served) func() {
	c := s.dial()
	request := []byte(post(`{"jsonrpc":"2.0","id":7,"method":"ping"}`))
	answer := make([]byte, 4<<10)
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(answer) // it comes in one piece
		if err != nil || answer[n-1] != '}' {
			t.Fatalf("%q %v", answer[:n], err)
		}
	}
}

var jsonType = []string{"application/json"}

func small(w http.ResponseWriter, r *http.Request) {
	var b [100]byte
	for {
		if _, err := r.Body.Read(b[:]); err != nil {
			break
		}
	}
	w.Header()["Content-Type"] = jsonType
	_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":7,"result":{}}`)
}

// TestAllocationsOfRequests: the head as a string, the values of its fields, what belongs to one request, the Request (that
// only WithContext can give a context), and two that the handler makes here.
func TestAllocationsOfRequests(t *testing.T) {
	call := exchanged(t, serve(t, small))
	call()
	const most = 6
	if n := testing.AllocsPerRun(500, call); n > most && !raceDetector {
		t.Errorf("%v allocations, at most %d", n, most)
	} else {
		t.Logf("%v allocations", n)
	}
}

func BenchmarkServe(b *testing.B) {
	call := exchanged(b, serve(b, small))
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}
