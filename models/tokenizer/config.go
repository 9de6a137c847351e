package tokenizer

import (
	"encoding/json"

	"zmlx-rewrite/diag"
)

// ApplyConfig takes bos_token and eos_token from a tokenizer_config.json, before t
// is used. The eos token becomes a stop. A key that is missing or null is no
// token, and leaves t as it is.
func (t *Tokenizer) ApplyConfig(file string, data []byte) error {
	var config struct {
		BOS tokenText `json:"bos_token"`
		EOS tokenText `json:"eos_token"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return jsonError(file, err)
	}
	for _, c := range []struct {
		key  string
		text tokenText
		into *int
	}{{"bos_token", config.BOS, &t.bos}, {"eos_token", config.EOS, &t.eos}} {
		if c.text == "" {
			continue
		}
		id, ok := t.ID(string(c.text))
		if !ok {
			return diag.Errorf("tokenizer/vocab", diag.Pos{File: file}, "%s %q is not in the vocabulary", c.key, clip(string(c.text))).
				WithHint("tokenizer.json and tokenizer_config.json are of different models")
		}
		*c.into = id
	}
	if t.eos >= 0 {
		t.addStop(t.eos)
	}
	return nil
}

// tokenText is "text" or {"content": "text", …}.
type tokenText string

func (t *tokenText) UnmarshalJSON(data []byte) error {
	if data[0] == '{' {
		var object struct {
			Content string `json:"content"`
		}
		err := json.Unmarshal(data, &object)
		*t = tokenText(object.Content)
		return err
	}
	return json.Unmarshal(data, (*string)(t))
}
