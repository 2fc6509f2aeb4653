package gateway

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the gateway does, by service. Names of services that do not exist are not used as labels, so
// that strangers cannot make metrics grow.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec

	mu       sync.RWMutex
	services map[string]*serviceMetrics
}

// serviceMetrics are those that nearly every call of one service touches.
type serviceMetrics struct {
	served, bytes prometheus.Counter
	duration      prometheus.Observer
}

// NewMetrics registers the gateway's metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		services: map[string]*serviceMetrics{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nmp_requests_total", Help: "Requests of MCP clients by service, decision and HTTP status.",
		}, []string{"service", "decision", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "nmp_request_duration_seconds", Help: "Time to answer, streams included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"service"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nmp_response_bytes_total", Help: "Bytes of answers by service.",
		}, []string{"service"}),
	}
	r.MustRegister(m.requests, m.duration, m.bytes)
	return m
}

func (m *Metrics) observe(c *call) {
	service := "-"
	if c.service != nil {
		service = c.service.Name
	}
	decision := "deny"
	if c.allowed {
		decision = "allow"
	}
	of := m.of(service)
	if c.allowed && c.status == http.StatusOK {
		of.served.Inc()
	} else {
		m.requests.WithLabelValues(service, decision, statusText(c.status)).Inc()
	}
	of.duration.Observe(time.Since(c.start).Seconds())
	of.bytes.Add(float64(c.written))
}

// statuses spare refusals, of which somebody may provoke many, the making of a label.
var statuses = func() (all [600]string) {
	for i := range all {
		all[i] = strconv.Itoa(i)
	}
	return all
}()

func statusText(status int) string {
	if status >= 0 && status < len(statuses) {
		return statuses[status]
	}
	return strconv.Itoa(status)
}

// of gives a service's own metrics without the search that WithLabelValues makes for each.
func (m *Metrics) of(service string) *serviceMetrics {
	m.mu.RLock()
	of := m.services[service]
	m.mu.RUnlock()
	if of != nil {
		return of
	}
	of = &serviceMetrics{
		served:   m.requests.WithLabelValues(service, "allow", "200"),
		duration: m.duration.WithLabelValues(service),
		bytes:    m.bytes.WithLabelValues(service),
	}
	m.mu.Lock()
	m.services[service] = of
	m.mu.Unlock()
	return of
}
