package e2e

import "github.com/google/go-cmp/cmp/cmpopts"

// sorted compares lists of names whatever their order.
var sorted = cmpopts.SortSlices(func(a, b string) bool { return a < b })
