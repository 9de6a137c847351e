package tokenizer

import (
	"os"
	"testing"
)

const smolLM2 = "../../.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"

// openSmolLM2 returns the tokenizer of the real model.
func openSmolLM2(t testing.TB) *Tokenizer {
	t.Helper()
	if _, err := os.Stat(smolLM2); err != nil {
		t.Skip("SmolLM2-135M-Instruct.Q4_1.gguf is not in .cache/models: `make setup` gets it")
	}
	return openGGUF(t, smolLM2)
}

// TestSmolLM2 compares the 49,152 tokens of the real model with Hugging Face
// tokenizers over the whole corpus.
func TestSmolLM2(t *testing.T) {
	tok := openSmolLM2(t)
	compare(t, tok, "smollm2")
	if eos, ok := tok.EOS(); !ok || eos != 2 || !tok.IsStop(2) || tok.IsStop(1) {
		t.Errorf("eos is %d, stops are %v; want 2", eos, tok.Stops())
	}
	if id, ok := tok.ID("<|im_end|>"); !ok || id != 2 || !tok.IsSpecial(id) {
		t.Errorf("<|im_end|> is %d, special %t", id, tok.IsSpecial(id))
	}
}
