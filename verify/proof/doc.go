// Package proof shows of a rule that it cannot change what a model computes, or by an
// example that it can.
package proof
