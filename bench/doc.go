// Package bench times two ways of doing the same, paired: in rounds of A B B A, so that
// a machine that slows down slows both, with a warm-up that is thrown away, and with an
// interval for the ratio. A gain whose interval holds 1 is no gain.
//
// It prints nothing and knows no engines.
package bench
