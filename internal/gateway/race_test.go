//go:build race

package gateway

const raceDetector = true // it drops pooled values at random, so that allocations cannot be counted
