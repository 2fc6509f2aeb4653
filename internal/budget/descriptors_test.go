package budget

import "testing"

func TestDescriptorsAreLeftForBothSidesAndForOthers(t *testing.T) {
	d := NewDescriptors(256)
	clients, backends := 0, 0
	for d.Take(Clients) {
		clients++
	}
	for d.Take(Backends) {
		backends++
	}
	if clients != d.Most() || backends < 32 || clients+backends > 256-64 {
		t.Errorf("%d clients, %d backends of 256", clients, backends)
	}
	d.Release(Clients)
	if !d.Take(Backends) || d.Take(Clients) {
		t.Error("what a client gave back is not one for all")
	}
	if n, refused := d.Open(Clients); n != clients-1 || refused != 2 {
		t.Errorf("%d clients open, %d refused", n, refused)
	}
	if NewDescriptors(0) != nil {
		t.Error("an unknown number of descriptors bounds something")
	}
}
