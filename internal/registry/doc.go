// Package registry turns documents into services, consumers, grants and rejections.
// It must never do I/O, read a clock or keep state: the same bytes always give the same answer.
package registry
