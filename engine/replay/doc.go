// Package replay launches the steps of a program as one prepared list of kernels.
//
// An engine such as MLX builds the graph of a step anew for every token: it allocates,
// looks kernels up and adds nodes, which takes the host longer than small kernels run. A
// decode step of a rewritten program is the same list of launches each time, with other
// numbers in a few places. So a script is made of a case once: which kernels, with which
// addresses and threads, in which order; where intermediate values lie in one arena; which
// numbers come with each step. A step then writes those numbers and starts the list.
//
// What a script can hold: kernels of the catalog, views, kv_append (in place, in a cache
// that was handed over and that nobody else holds), and rows taken from a table. A case
// with anything else, a prompt's for instance, is run by the engine underneath, and
// Explain says which op stands in the way. Values cross from one to the other by copies,
// once a prompt, not once a token.
package replay
