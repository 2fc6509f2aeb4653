//go:build race

package template

// raceEnabled: the detector makes sync.Pool forget at random, so that package regexp allocates anew for each match.
const raceEnabled = true
