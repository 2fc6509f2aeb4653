package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Keys that the HTTP API wants for writing. They are public; the example registry holds them as backend
// credentials, and no client of the proxy ever needs to know them.
const (
	petKey   = "demo-pet-key"   // X-API-Key, for POST /pets
	orderKey = "demo-order-key" // X-Orders-Key, for everything under /orders
)

// maxBody is far more than any request of this API needs.
const maxBody = 64 << 10

type pet struct {
	ID     int      `json:"id"`
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Status string   `json:"status"` // available | sold
	Price  float64  `json:"price"`
	Tags   []string `json:"tags"`
}

type line struct {
	PetID    int `json:"petId"`
	Quantity int `json:"quantity"`
}

type order struct {
	ID        int     `json:"id"`
	Status    string  `json:"status"` // placed | shipped | cancelled
	Lines     []line  `json:"lines"`
	Note      string  `json:"note,omitempty"`
	Total     float64 `json:"total"`
	RequestID string  `json:"requestId,omitempty"` // the X-Request-Id it was placed with
}

// shop is the HTTP API: pets to look at and orders to place.
type shop struct {
	mu     sync.Mutex
	pets   map[int]pet
	orders map[int]order
}

func newShop() http.Handler {
	s := &shop{
		pets: map[int]pet{
			1: {1, "Bella", "dog", "available", 250, []string{"calm", "good with children"}},
			2: {2, "Milo", "cat", "available", 120.5, []string{"indoor"}},
			3: {3, "Coco", "parrot", "sold", 80, []string{"talks"}},
			7: {7, "Rex", "dog", "available", 300, []string{"young", "loud"}},
		},
		orders: map[int]order{
			1001: {ID: 1001, Status: "shipped", Lines: []line{{3, 1}}, Total: 80},
			1002: {ID: 1002, Status: "placed", Lines: []line{{1, 1}, {2, 2}}, Note: "ring twice", Total: 491},
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pets", s.listPets)
	mux.HandleFunc("GET /pets/{id}", s.getPet)
	mux.HandleFunc("POST /pets", guarded("X-API-Key", petKey, s.addPet))
	mux.HandleFunc("GET /orders/{id}", guarded("X-Orders-Key", orderKey, s.getOrder))
	mux.HandleFunc("POST /orders", guarded("X-Orders-Key", orderKey, s.placeOrder))
	mux.HandleFunc("DELETE /orders/{id}", guarded("X-Orders-Key", orderKey, s.cancelOrder))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "no such resource: "+r.URL.Path)
	})
	return mux
}

// listPets answers GET /pets?status=&kind=&limit=.
func (s *shop) listPets(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit := len(s.pets)
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			fail(w, http.StatusBadRequest, fmt.Sprintf("limit must be a number from 1, not %q", text))
			return
		}
		limit = n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []pet{}
	for _, p := range s.pets {
		if status := query.Get("status"); status != "" && p.Status != status {
			continue
		}
		if kind := query.Get("kind"); kind != "" && p.Kind != kind {
			continue
		}
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b pet) int { return cmp.Compare(a.ID, b.ID) })
	total := len(found)
	answer(w, http.StatusOK, map[string]any{"total": total, "pets": found[:min(limit, total)]})
}

func (s *shop) getPet(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := strconv.Atoi(r.PathValue("id"))
	p, ok := s.pets[id]
	if !ok {
		fail(w, http.StatusNotFound, "no pet with id "+r.PathValue("id"))
		return
	}
	answer(w, http.StatusOK, p)
}

func (s *shop) addPet(w http.ResponseWriter, r *http.Request) {
	p := pet{Status: "available", Tags: []string{}}
	if !read(w, r, &p) {
		return
	}
	if p.Name == "" || p.Kind == "" {
		fail(w, http.StatusUnprocessableEntity, "a pet needs a name and a kind")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.ID = nextID(s.pets, 8)
	s.pets[p.ID] = p
	answer(w, http.StatusCreated, p)
}

func (s *shop) getOrder(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := strconv.Atoi(r.PathValue("id"))
	o, ok := s.orders[id]
	if !ok {
		fail(w, http.StatusNotFound, "no order with id "+r.PathValue("id"))
		return
	}
	answer(w, http.StatusOK, o)
}

func (s *shop) placeOrder(w http.ResponseWriter, r *http.Request) {
	var want struct {
		PetID    int    `json:"petId"`
		Quantity int    `json:"quantity"`
		Note     string `json:"note"`
	}
	if !read(w, r, &want) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pets[want.PetID]
	switch {
	case !ok:
		fail(w, http.StatusUnprocessableEntity, fmt.Sprintf("no pet with id %d", want.PetID))
		return
	case p.Status != "available":
		fail(w, http.StatusConflict, p.Name+" is already sold")
		return
	case want.Quantity < 1:
		fail(w, http.StatusUnprocessableEntity, "quantity must be at least 1")
		return
	}
	o := order{
		ID: nextID(s.orders, 1003), Status: "placed",
		Lines: []line{{p.ID, want.Quantity}}, Note: want.Note,
		Total: p.Price * float64(want.Quantity), RequestID: r.Header.Get("X-Request-Id"),
	}
	s.orders[o.ID] = o
	answer(w, http.StatusCreated, o)
}

func (s *shop) cancelOrder(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := strconv.Atoi(r.PathValue("id"))
	o, ok := s.orders[id]
	switch {
	case !ok:
		fail(w, http.StatusNotFound, "no order with id "+r.PathValue("id"))
	case o.Status == "shipped":
		fail(w, http.StatusConflict, fmt.Sprintf("order %d has left the house", id))
	default:
		o.Status = "cancelled"
		s.orders[id] = o
		w.WriteHeader(http.StatusNoContent)
	}
}

// guarded lets a request through that carries the key in the header.
func guarded(header, key string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(header) != key {
			fail(w, http.StatusUnauthorized, "this needs a valid "+header)
			return
		}
		next(w, r)
	}
}

func nextID[T any](m map[int]T, from int) int {
	for id := from; ; id++ {
		if _, taken := m[id]; !taken {
			return id
		}
	}
}

// read decodes the body into v, or answers why it cannot.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &tooLarge):
		fail(w, http.StatusRequestEntityTooLarge, "the body is too large")
	case errors.Is(err, io.EOF):
		fail(w, http.StatusBadRequest, "a JSON body is needed")
	default:
		fail(w, http.StatusBadRequest, "the body is not the JSON that is wanted: "+err.Error())
	}
	return false
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}

func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}
