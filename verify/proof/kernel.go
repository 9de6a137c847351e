package proof

import (
	"context"
	"fmt"
	"strings"

	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/kernelcheck"
)

// CodeKernelDiffers is of a kernel whose source does not compute its reference.
const CodeKernelDiffers = "kernel/differs"

// KernelOptions say how kernels without a certificate are checked.
type KernelOptions struct {
	Certificates kernelcheck.Certificates
	// Check checks a kernel's source that has no certificate; nil leaves it unchecked.
	Check func(ctx context.Context, name string) (*kernelcheck.Report, error)
}

// Kernels holds the sources of the kernels that a rule calls against their references: by
// certificate, where there is one for what the source is now, else by a check of its own.
// A kernel without a source runs as its reference, so that nothing is left to show. Count
// is the cases.
func Kernels(ctx context.Context, set *rules.Set, r *rules.Rule, o KernelOptions) *Verdict {
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
		report, err := o.Check(ctx, name)
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
