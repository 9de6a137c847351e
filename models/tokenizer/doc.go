// Package tokenizer turns text into token ids and back: byte-level BPE, as used
// by GPT-2, SmolLM2, Llama 3, Qwen2 and Qwen3.
//
// A tokenizer is read from a Hugging Face tokenizer.json (ParseJSON) or
// from the metadata of a GGUF file (FromGGUF). Its ids are those of the Hugging
// Face tokenizers library; testdata/ holds that library's answers.
//
// It refuses everything else by name: other models (WordPiece, Unigram,
// SentencePiece-style BPE with byte fallback), normalizers that it does not
// know, and pre-tokenizer patterns other than those in split.go. A tokenizer that
// is nearly right gives a model nearly right input, which nobody notices.
//
// A Tokenizer does not change after it is made and may be used by several
// goroutines at once.
package tokenizer
