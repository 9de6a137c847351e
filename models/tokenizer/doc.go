// Package tokenizer turns text into token ids and back: BPE, byte-level as of GPT-2,
// SmolLM2, Llama 3, Qwen, GPT-OSS, DeepSeek-V3 and Kimi-K2, and over characters with
// bytes to fall back on, as SentencePiece's of Llama 2, Mistral and Gemma.
//
// A tokenizer is read from a Hugging Face tokenizer.json (ParseJSON), from the metadata
// of a GGUF file (FromGGUF), or from a tiktoken.model (ParseTiktoken). Its ids are those
// of Hugging Face tokenizers, of SentencePiece, and of tiktoken; testdata/ holds their
// answers. What tokenizer.json says is done, also where transformers builds another
// pipeline from the same file, as version 5 does for Llama 2.
//
// It refuses everything else by name: other models (WordPiece, Unigram), normalizers,
// pre-tokenizers and decoders that it does not know, and patterns with more than
// pattern.go reads. A tokenizer that is nearly right gives a model nearly right input,
// which nobody notices.
//
// A Tokenizer does not change after it is made and may be used by several
// goroutines at once.
package tokenizer
