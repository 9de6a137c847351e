package author

import "slices"

// A kernel with reductions: the threads of a group share a row. It is gone over once for
// each step in which reductions depend on each other, and once more to write, if the result
// is a row. All is computed in float32 and rounded at the end.

// rowThreads is the size of a group: as many simdgroups as a row fills, 8 at most.
func rowThreads(dim string) string { return "min(256, ceil_div(" + dim + ", 32) * 32)" }

// stage is how many passes over the row must be done before a node is known.
func stage(nodes []*node) map[*node]int {
	at := map[*node]int{}
	for _, x := range nodes {
		for _, y := range x.in {
			at[x] = max(at[x], at[y])
		}
		if isReduction(x.op) {
			at[x]++
		}
	}
	return at
}

// passes is how often the reductions need the row.
func passes(nodes []*node) int {
	at, n := stage(nodes), 0
	for _, x := range nodes {
		if isReduction(x.op) {
			n = max(n, at[x])
		}
	}
	return n
}

// lower replaces reductions that a pass cannot make at once. logsumexp takes two: the
// largest element, and the sum of exponentials that it keeps from overflowing.
func lower(b *builder, result *node) (*node, error) {
	made := map[*node]*node{}
	for _, x := range reachable(result) {
		in := make([]*node, len(x.in))
		for i, y := range x.in {
			in[i] = made[y]
		}
		c := chain{b: b}
		switch {
		case x.op == "logsumexp":
			hi := c.reduce("max", in[0])
			sum := c.reduce("sum", c.make("exp", c.make("subtract", in[0], hi)))
			// An infinite maximum is the result: inf - inf is NaN, which equals nothing.
			finite := c.make("equal", c.make("subtract", hi, hi), c.number(0))
			made[x] = c.make("where", finite, c.make("add", c.make("log", sum), hi), hi)
		case slices.Equal(in, x.in):
			made[x] = x
		case isReduction(x.op):
			made[x] = c.reduce(x.op, in[0])
		default:
			made[x] = c.make(x.op, in...)
		}
		if c.err != nil {
			return nil, c.err
		}
	}
	return made[result], nil
}

// accumulators say how a pass makes a reduction.
var accumulators = map[string]struct{ start, step, group string }{
	"sum": {"0.0f", "%[1]s += %[2]s", "group_sum"},
	"max": {"-INFINITY", "%[1]s = nan_max(%[1]s, %[2]s)", "group_nan_max"},
	"min": {"INFINITY", "%[1]s = nan_min(%[1]s, %[2]s)", "group_nan_min"},
}

func rowSource(c *coder, result *node) {
	c.printf("  threadgroup float part[16];\n")
	c.printf("  const int row = int(threadgroup_position_in_grid.x);\n  if (row >= rows) return;\n")
	c.printf("  const int base = row * %s, from = int(thread_index_in_threadgroup), step = int(threads_per_threadgroup.x);\n", c.dim)
	c.printf("  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup, simdgroups = simdgroups_per_threadgroup;\n")
	nodes := reachable(result)
	at := stage(nodes)
	passes := passes(nodes)
	// perThread defines what is one value a row and known after p passes.
	perThread := func(p int) {
		for _, x := range nodes {
			if x.shape&vector == 0 && !isReduction(x.op) && at[x] <= p && x != result {
				c.define(x, "  ")
			}
		}
	}
	for p := 1; p <= passes; p++ {
		perThread(p - 1)
		var reductions, operands []*node
		for _, x := range nodes {
			if isReduction(x.op) && at[x] == p {
				reductions = append(reductions, x)
				operands = append(operands, x.in[0])
			}
		}
		c.printf("\n")
		for _, x := range reductions {
			c.printf("  float %s = %s;\n", c.name(x, "t"), accumulators[x.op].start)
			c.wrote[x] = true
		}
		c.row(operands, nil)
		for i, x := range reductions {
			a := accumulators[x.op]
			c.printf("    "+a.step+";\n", c.of[x], c.value(operands[i], false))
		}
		c.printf("  }\n")
		for _, x := range reductions {
			a := accumulators[x.op]
			c.printf("  %[1]s = %[2]s(%[1]s, part, lane, simdgroup, simdgroups);\n", c.of[x], a.group)
			if x.op == "sum" {
				c.uses["reduce.h"] = true
			} else {
				c.uses["extremes.h"] = true
			}
		}
	}
	perThread(passes)
	if result.shape == perRow {
		c.printf("  if (from == 0) %s[row] = %s;\n", c.store, c.result(result))
		return
	}
	c.printf("\n")
	c.row([]*node{result}, result)
	c.printf("    %s[base + k] = %s;\n  }\n", c.store, c.result(result))
}

// row opens the loop over a row and defines in it what the wanted nodes need of an element,
// all but last itself.
func (c *coder) row(want []*node, last *node) {
	c.printf("  for (int k = from; k < %s; k += step) {\n", c.dim)
	nodes := perElement(want)
	for _, x := range nodes {
		if x.op == inputOp {
			c.load(x, "_k", "base + k", "k", "    ")
		}
	}
	for _, x := range nodes {
		if x != last {
			c.define(x, "    ")
		}
	}
	for _, x := range nodes {
		delete(c.wrote, x) // out of scope behind the loop
	}
}

// perElement returns the nodes that vary along the row, operands first.
func perElement(want []*node) []*node {
	return reachableWhere(func(x *node) bool { return x.shape&vector != 0 }, want)
}
