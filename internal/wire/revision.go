package wire

import "slices"

// Revisions of MCP. All but the newest are the legacy era: initialize, sessions, statuses of JSON-RPC over plain 200.
const (
	V20241105 = "2024-11-05"
	V20250326 = "2025-03-26"
	V20250618 = "2025-06-18"
	V20251125 = "2025-11-25"
	V20260728 = "2026-07-28" // the first of the modern era: no sessions, everything in each request
)

// Supported lists the revisions the proxy answers by itself, oldest first. It must not be changed.
// Passthrough is not limited by it: a revision nobody knows yet is the backend's to accept.
var Supported = []string{V20241105, V20250326, V20250618, V20251125, V20260728}

// Modern tells whether a revision belongs to the modern era. Revisions are dates, so that text order is time order.
func Modern(version string) bool { return version >= V20260728 }

// IsSupported tells whether the proxy itself speaks a revision.
func IsSupported(version string) bool { return slices.Contains(Supported, version) }

// Negotiate gives the revision that initialize answers: the one asked for if it is a legacy one we speak, else the newest
// legacy one (initialize itself is gone from the modern era).
func Negotiate(requested string) string {
	if IsSupported(requested) && !Modern(requested) {
		return requested
	}
	return V20251125
}
