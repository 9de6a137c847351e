package proof

import (
	"context"
	"testing"

	"zmlx-rewrite/verify/kernelcheck"
)

// TestShippedKernelsAreCertified: each rule that ships calls kernels that were checked as
// they are now.
func TestShippedKernelsAreCertified(t *testing.T) {
	set := shipped(t)
	list, err := kernelcheck.ShippedCertificates()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range set.Rules() {
		if v := Kernels(context.Background(), set, r, nil, KernelOptions{Certificates: list}); v.Status < Tested {
			t.Errorf("%s: %s %v", r.Name, v.Status, v.Why)
		}
		if v := Kernels(context.Background(), set, r, nil, KernelOptions{}); len(r.Kernels) > 0 && v.Status != Unchecked {
			t.Errorf("%s: %s without certificates", r.Name, v.Status)
		}
	}
}
