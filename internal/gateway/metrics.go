package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the gateway does, by service. Names of services that do not exist are not used as labels, so
// that strangers cannot make metrics grow.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
}

// NewMetrics registers the gateway's metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
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
	m.requests.WithLabelValues(service, decision, strconv.Itoa(c.status)).Inc()
	m.duration.WithLabelValues(service).Observe(time.Since(c.start).Seconds())
	m.bytes.WithLabelValues(service).Add(float64(c.written))
}
