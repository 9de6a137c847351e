// Package exact evaluates graphs without rounding, so that two graphs can be told to be
// the same function, or not.
//
// # Numbers
//
// A Number is one real number seen in three ways. Modulo the prime P it is an element of a
// field, where +, -, *, / are exact and two rational functions that agree at a random
// point are, but for a chance of degree/P, the same function (Schwartz 1980, Zippel 1979).
// Modulo the prime Q = (P-1)/2 it is an exponent: exp takes it to w^q for an element w of
// order Q, so that exp(x+y) = exp(x)*exp(y) holds. This pair of fields is that of Mirage
// (Wu et al., "Mirage: A Multi-Level Superoptimizer for Tensor Programs", OSDI 2025). Here
// log is added, which keeps its argument as what exp would give back. And every number has
// a float64, the value of the sample, by which comparisons, sorting, and max are decided.
//
// sigmoid, tanh, softmax and SiLU are their definitions by exp; norms are x*rsqrt(...).
// rsqrt, erf, sin, cos and the exp of an exp are functions that nothing is known of: equal
// arguments give equal values, other ones independent random values.
//
// # What it says
//
// If all results agree in the field, at random points, the graphs compute the same function
// of the reals where comparisons go the way that they went in the samples. If they differ
// in the field but not in float64, either the functions differ by less than the samples
// show, or there is an identity that the field does not know (sin^2+cos^2 = 1); Trace says
// whether such functions took part.
//
// The package rounds nothing and so says nothing of rounding; it runs no kernels, and is
// for graphs of a few thousand elements.
package exact
