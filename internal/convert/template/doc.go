// Package template runs Go-template grammar over JSON values: numbers keep their spelling, objects their key order,
// a missing key prints nothing, and what an argument holds is escaped for the place where it lands.
// It must never do I/O of its own, read the environment, run without a budget, or put a value into an error text.
//
// The grammar is that of text/template/parse; evaluation is ours because the standard one cannot be stopped and does
// not know JSON (conversion: "Templates"). Functions are the builtins, sprig's without those that reach outside or
// make keys, gjson and getRealIP.
package template
