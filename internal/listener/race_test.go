//go:build race

package listener

const raceDetector = true // it drops pooled values at random, so that allocations cannot be counted
