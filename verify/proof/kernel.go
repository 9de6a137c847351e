package proof

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/kernelcheck"
)

// CodeKernelDiffers is of a kernel whose source does not compute its reference.
const CodeKernelDiffers = "kernel/differs"

// KernelOptions say how kernels without a certificate are checked.
type KernelOptions struct {
	Certificates kernelcheck.Certificates
	// Check checks a kernel's source that has no certificate; nil leaves it unchecked.
	Check func(ctx context.Context, s *kernels.Spec) (*kernelcheck.Report, error)
}

// Kernels holds the sources of the kernels that a rule calls against their references: by
// certificate, where there is one for what the source is now, else by a check of its own.
// A kernel without a source runs as its reference, so that nothing is left to show. Where
// its spec names no lengths to try, those of the instances are. Count is the cases.
func Kernels(ctx context.Context, set *rules.Set, r *rules.Rule, all *Instances, o KernelOptions) *Verdict {
	v := &Verdict{Check: CheckKernel, Status: Proven, Method: "reference graphs"}
	if len(r.Kernels) == 0 {
		v.Detail = "the rule calls no kernel"
		return v
	}
	checker := kernelcheck.CheckerHash()
	for _, name := range r.Kernels {
		s := set.Kernels.Spec(name)
		switch {
		case s.Code == nil:
			v.Why = append(v.Why, name+" has no source, and runs as its reference graph")
			continue
		case o.Certificates.Current(s, checker):
			c := o.Certificates[name]
			v.Count += c.Cases
			v.weaken(Tested)
			v.Method = "certificate"
			continue
		case o.Check == nil:
			v.weaken(Unchecked)
			v.Why = append(v.Why, fmt.Sprintf("%s has no certificate: zmlx-rewrite kernels check %s", name, name))
			continue
		}
		if untried := s.Untried(); len(untried) > 0 {
			lengths := lengthsOf(set, s, all)
			s = s.Trying(lengths)
			for _, dim := range untried {
				if len(lengths[dim]) == 0 {
					v.Why = append(v.Why, fmt.Sprintf("%s: %s is tried at length 1 only: name it under check.dims", name, dim))
				}
			}
		}
		report, err := o.Check(ctx, s)
		if err != nil {
			v.weaken(Unchecked)
			v.Why = append(v.Why, fmt.Sprintf("%s was not checked: %v", name, err))
			continue
		}
		v.Count += report.Cases
		v.Method = "emulated threads"
		if report.Failure != nil {
			return v.fail(CodeKernelDiffers, "%s: %v", name, report.Failure)
		}
		v.weaken(Tested)
		if len(report.Missing) > 0 {
			var missing []string
			for _, err := range report.Missing {
				missing = append(missing, err.Error())
			}
			v.Why = append(v.Why, fmt.Sprintf("%s: %s", name, strings.Join(missing, "; ")))
		}
	}
	return v
}

// lengthsOf lists the lengths that the dimensions of a kernel have where a rule calls it. The
// first of each are those of one call; rows, which are symbols, are some.
func lengthsOf(set *rules.Set, s *kernels.Spec, all *Instances) map[string][]int64 {
	lengths := map[string][]int64{}
	if all == nil {
		return lengths
	}
	for _, in := range all.All {
		for _, target := range Targets {
			res, err := in.Rewrite(set, target)
			if err != nil {
				continue
			}
			for _, c := range res.Cases {
				for id := range graph.NodeID(c.After.NumNodes()) {
					n := c.After.Node(id)
					if n.Op != s.Op() {
						continue
					}
					types := make([]graph.Type, len(n.In))
					for i, v := range n.In {
						if types[i].DType = graph.NoDType; v != graph.None {
							types[i] = c.After.Type(v)
						}
					}
					lengths[kernels.RowsName] = []int64{1, 2, 5}
					for name, x := range s.Lengths(types) {
						if !slices.Contains(lengths[name], x) {
							lengths[name] = append(lengths[name], x)
						}
					}
				}
			}
		}
	}
	return lengths
}
