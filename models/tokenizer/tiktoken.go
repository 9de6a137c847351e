package tokenizer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"zmlx-rewrite/diag"
)

// ParseTiktoken reads a tiktoken.model, one line "BASE64 RANK" for each token, and the
// tokenizer_config.json beside it. The file has neither the pattern nor the special
// tokens; both are in Python code of the model that the config names. Known is
// Kimi's: its pattern, and 256 special tokens behind the others, named by the config
// or "<|reserved_token_ID|>".
//
// Kimi's code cuts texts of more than 400,000 characters, and runs of more than 25,000
// without or of nothing but spaces, before it encodes them; this package does not.
func ParseTiktoken(file string, data []byte, configFile string, config []byte) (*Tokenizer, error) {
	var c struct {
		Class string `json:"tokenizer_class"`
		Added map[string]struct {
			Content string `json:"content"`
			Special *bool  `json:"special"`
		} `json:"added_tokens_decoder"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, jsonError(configFile, err)
	}
	if c.Class != "TikTokenTokenizer" {
		return nil, diag.Errorf("tokenizer/unsupported", diag.Pos{File: configFile}, "tokenizer_class %q with a tiktoken.model", clip(c.Class)).
			WithHint("known: TikTokenTokenizer (Kimi); use a folder with a tokenizer.json")
	}
	ids, raw, err := tiktokenRanks(file, data)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{bos: -1, eos: -1, split: by(patternKimi), decoder: decoder{func() step { return &byteLevel{} }}}
	if t.vocab, err = newVocab(file, ids, len(ids)+reservedTokens); err != nil {
		return nil, err
	}
	t.bpe = newBPE(ids, true, false)
	t.bpe.whole, t.bpe.raw = true, raw
	base := t.Size()
	if base != len(raw) {
		return nil, diag.Errorf("tokenizer/vocab", diag.Pos{File: file}, "%d tokens, but ranks up to %d", len(raw), base-1).WithHint("the file is damaged: fetch it again")
	}
	t.bpe.ranks = make([]int32, base)
	for id := range t.bpe.ranks {
		t.bpe.ranks[id] = int32(id) // the sooner a token was found, the sooner it is made
	}
	for id := base; id < base+reservedTokens; id++ {
		content, special := fmt.Sprintf("<|reserved_token_%d|>", id), true
		if a, ok := c.Added[strconv.Itoa(id)]; ok && a.Content != "" {
			content, special = a.Content, a.Special == nil || *a.Special
		}
		if _, dup := t.vocab.ids[content]; dup {
			return nil, diag.Errorf("tokenizer/added", diag.Pos{File: configFile}, "special token %q is there twice", clip(content)).WithHint("correct added_tokens_decoder")
		}
		if err := t.vocab.set(configFile, content, int32(id)); err != nil {
			return nil, err
		}
		t.vocab.tokens[id].special = special
		if err := t.added.add(configFile, addedToken{id: id, content: content}, false); err != nil {
			return nil, err
		}
	}
	return t, t.ApplyConfig(configFile, config)
}

// reservedTokens is how many special tokens follow the others.
const reservedTokens = 256

// tiktokenRanks reads the lines: token → id, in the byte alphabet and as bytes.
func tiktokenRanks(file string, data []byte) (ids, raw map[string]int32, err error) {
	ids, raw = map[string]int32{}, map[string]int32{}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		bad := func(what string) error {
			return diag.Errorf("tokenizer/vocab", diag.Pos{File: file, Line: number}, "%s: a line is the base64 of a token, a space, and its rank", what).WithHint("the file is damaged: fetch it again")
		}
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, nil, bad(fmt.Sprintf("%d fields", len(fields)))
		}
		token := make([]byte, base64.StdEncoding.DecodedLen(len(fields[0])))
		n, err := base64.StdEncoding.Decode(token, fields[0])
		if err != nil || n == 0 {
			return nil, nil, bad(fmt.Sprintf("token %q", clip(string(fields[0]))))
		}
		rank, err := strconv.ParseInt(string(fields[1]), 10, 32)
		if err != nil {
			return nil, nil, bad(fmt.Sprintf("rank %q", clip(string(fields[1]))))
		}
		token = token[:n]
		if _, dup := raw[string(token)]; dup {
			return nil, nil, bad(fmt.Sprintf("token %q is there twice", clip(string(token))))
		}
		raw[string(token)] = int32(rank)
		ids[alphabetText(token)] = int32(rank)
	}
	for b := range 256 {
		if _, ok := raw[string([]byte{byte(b)})]; !ok {
			return nil, nil, diag.Errorf("tokenizer/vocab", diag.Pos{File: file}, "byte 0x%02X has no token", b).WithHint("the file is damaged: fetch it again")
		}
	}
	return ids, raw, nil
}
