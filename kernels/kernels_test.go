package kernels

import "testing"

// TestEmbedded reads every spec that ships.
func TestEmbedded(t *testing.T) {
	c, issues := Load()
	for _, i := range issues {
		t.Error(i)
	}
	if len(c.All()) == 0 {
		t.Fatal("no kernels")
	}
}
