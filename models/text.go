package models

import (
	"encoding/json"
	"os"
	"path/filepath"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/models/gguf"
	"zmlx-rewrite/models/tokenizer"
)

// maxTextBytes bounds tokenizer.json and the like; the largest published ones have
// some 40 MB.
const maxTextBytes = 128 << 20

// folderText is the tokenizer and the chat template of a Hugging Face folder.
type folderText struct{ dir string }

func (t folderText) tokenizer() (*tokenizer.Tokenizer, error) {
	path, ranks := filepath.Join(t.dir, "tokenizer.json"), filepath.Join(t.dir, "tiktoken.model")
	if !exists(path) && exists(ranks) {
		return t.tiktoken(ranks)
	}
	text, err := readFile(path, maxTextBytes)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.ParseJSON(path, text)
	if err != nil {
		return nil, err
	}
	path = filepath.Join(t.dir, "tokenizer_config.json")
	if _, err := os.Stat(path); err != nil {
		return tok, nil // not every folder has one
	}
	if text, err = readFile(path, maxTextBytes); err != nil {
		return nil, err
	}
	if err := tok.ApplyConfig(path, text); err != nil {
		return nil, err
	}
	return tok, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// tiktoken reads the tokenizer of folders that have no tokenizer.json: Kimi's.
func (t folderText) tiktoken(path string) (*tokenizer.Tokenizer, error) {
	ranks, err := readFile(path, maxTextBytes)
	if err != nil {
		return nil, err
	}
	configPath := filepath.Join(t.dir, "tokenizer_config.json")
	config, err := readFile(configPath, maxTextBytes)
	if err != nil {
		return nil, err
	}
	return tokenizer.ParseTiktoken(path, ranks, configPath, config)
}

// chatTemplate looks where transformers does: chat_template.jinja, else the key
// chat_template of tokenizer_config.json.
func (t folderText) chatTemplate() (ChatTemplate, error) {
	c := ChatTemplate{File: filepath.Join(t.dir, "tokenizer_config.json"), Extra: map[string]any{}}
	var config map[string]json.RawMessage
	if text, err := readFile(c.File, maxTextBytes); err == nil {
		if err := json.Unmarshal(text, &config); err != nil {
			return c, diag.Errorf("model/text", diag.Pos{File: c.File}, "not valid JSON: %v", err)
		}
	}
	for _, name := range []string{"bos_token", "eos_token", "unk_token", "pad_token"} {
		if s, ok := tokenText(config[name]); ok {
			c.Extra[name] = s
		}
	}
	if kind, ok := tokenText(config["chat_template_type"]); ok && kind != "" {
		// mlx-lm's own key: a template that is Python, which counts before any other.
		return c, diag.Errorf("model/text", diag.Pos{File: c.File}, "chat_template_type %q: the template is Python code of mlx-lm", kind).
			WithHint("give the prompt as it is (--ignore-chat-template), or put the template as Jinja into chat_template and remove the key")
	}
	jinja := filepath.Join(t.dir, "chat_template.jinja")
	if _, err := os.Stat(jinja); err == nil {
		text, err := readFile(jinja, maxTextBytes)
		c.File, c.Source = jinja, string(text)
		return c, err
	}
	raw := config["chat_template"]
	var named []struct{ Name, Template string }
	switch {
	case raw == nil || json.Unmarshal(raw, &c.Source) == nil:
		return c, nil
	case json.Unmarshal(raw, &named) == nil:
		for _, n := range named {
			if n.Name == "default" {
				c.Source = n.Template
				return c, nil
			}
		}
		return c, diag.Errorf("model/text", diag.Pos{File: c.File}, "chat_template has no entry named default")
	}
	return c, diag.Errorf("model/text", diag.Pos{File: c.File}, "chat_template is neither text nor a list of named templates")
}

// tokenText reads a token, which is text or an object with its text under "content".
func tokenText(raw json.RawMessage) (string, bool) {
	var s *string
	if json.Unmarshal(raw, &s) == nil && s != nil {
		return *s, true
	}
	var object struct{ Content *string }
	if json.Unmarshal(raw, &object) == nil && object.Content != nil {
		return *object.Content, true
	}
	return "", false
}

// generationEOS reads eos_token_id of generation_config.json. Like mlx-lm it takes
// a file that is missing or damaged for one that says nothing.
func (t folderText) generationEOS() []int {
	path := filepath.Join(t.dir, "generation_config.json")
	text, err := readFile(path, maxConfigBytes)
	if err != nil {
		return nil
	}
	var ignored diag.List
	return readJSON(path, text, &ignored).ints("eos_token_id")
}

// ggufText is the tokenizer and the chat template of a GGUF file.
type ggufText struct{ f *gguf.File }

func (t ggufText) tokenizer() (*tokenizer.Tokenizer, error) {
	m, err := t.f.Tokenizer()
	if err != nil {
		return nil, err
	}
	return tokenizer.FromGGUF(t.f.Name(), tokenizer.GGUF{
		Model: m.Model, Pre: m.Pre, Tokens: m.Tokens, Types: m.Types, Merges: m.Merges,
		Scores: m.Scores, AddSpacePrefix: m.AddSpacePrefix,
		BOS: m.BOS, EOS: m.EOS, Stops: []int{m.EOT, m.EOM}, AddBOS: m.AddBOS, AddEOS: m.AddEOS,
	})
}

func (t ggufText) chatTemplate() (ChatTemplate, error) {
	c := ChatTemplate{File: t.f.Name(), Extra: map[string]any{}}
	m, err := t.f.Tokenizer()
	if err != nil {
		return c, err
	}
	c.Source = m.ChatTemplate
	for name, id := range map[string]int{"bos_token": m.BOS, "eos_token": m.EOS, "unk_token": m.Unknown, "pad_token": m.Padding} {
		if id >= 0 && id < len(m.Tokens) {
			c.Extra[name] = m.Tokens[id]
		}
	}
	return c, nil
}
