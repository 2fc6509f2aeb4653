//go:build !race

package listener

const raceDetector = false
