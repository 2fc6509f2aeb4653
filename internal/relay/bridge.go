package relay

import (
	"net/http"
)

type bridges struct{ r *Relay }

func newBridges(r *Relay) *bridges                                                     { return &bridges{r} }
func (b *bridges) serve(w http.ResponseWriter, req *http.Request, x *Exchange) Outcome { panic("x") }
func (b *bridges) end(string, func(string, string) bool)                               {}
func (b *bridges) close()                                                              {}

type clients struct{ r *Relay }

func newClients(r *Relay) *clients                       { return &clients{r} }
func (b *clients) end(string, func(string, string) bool) {}
func (b *clients) close()                                {}
