// Package e2e holds the end-to-end tests: the whole proxy on port 0, between real clients and real backends, with its
// configuration in a directory or in a real Nacos. It must hold no code but tests.
package e2e
