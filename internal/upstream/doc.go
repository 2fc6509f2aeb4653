// Package upstream sends requests to backends: it chooses the instance, dials through a guard, bounds time and size,
// and hands back the answer as it comes. It is the only place of the program that dials out towards backends, and it must
// never send a request a second time once a byte of it may have left, nor a credential anywhere but where it belongs.
package upstream
