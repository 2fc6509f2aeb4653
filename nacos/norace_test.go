//go:build !race

package nacos_test

import "testing"

func skipUnderRace(*testing.T) {}
