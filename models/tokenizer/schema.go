package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// jsonFile is tokenizer.json. Parts that come in several types are read by hand.
type jsonFile struct {
	Added         []jsonAdded `json:"added_tokens"`
	Normalizer    *component  `json:"normalizer"`
	PreTokenizer  *component  `json:"pre_tokenizer"`
	PostProcessor *component  `json:"post_processor"`
	Decoder       *component  `json:"decoder"`
	Model         *jsonModel  `json:"model"`
}

type jsonAdded struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type jsonModel struct {
	Type         string          `json:"type"`
	Vocab        json.RawMessage `json:"vocab"` // of Unigram: a list
	Merges       []jsonMerge     `json:"merges"`
	Dropout      *float64        `json:"dropout"`
	UnkToken     *string         `json:"unk_token"`
	FuseUnk      bool            `json:"fuse_unk"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
}

// component is any normalizer, pre-tokenizer, post-processor or decoder.
type component struct {
	Type string `json:"type"`

	Normalizers    []component `json:"normalizers"`   // of Sequence
	PreTokenizers  []component `json:"pretokenizers"` // of Sequence
	Processors     []component `json:"processors"`    // of Sequence
	Decoders       []component `json:"decoders"`      // of Sequence
	AddPrefixSpace *bool       `json:"add_prefix_space"`
	UseRegex       *bool       `json:"use_regex"`         // of ByteLevel
	Individual     bool        `json:"individual_digits"` // of Digits
	Prepend        string      `json:"prepend"`           // of Prepend
	Content        string      `json:"content"`           // of Replace: what is put there; of Strip
	Start          int         `json:"start"`             // of Strip
	Stop           int         `json:"stop"`              // of Strip
	Replacement    string      `json:"replacement"`       // of Metaspace
	PrependScheme  string      `json:"prepend_scheme"`    // of Metaspace
	Split          *bool       `json:"split"`             // of Metaspace
	Behavior       string      `json:"behavior"`          // of Split
	Invert         bool        `json:"invert"`            // of Split
	Pattern        struct {
		Regex  *string
		String *string
	} `json:"pattern"` // of Split, Replace
	Single []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		}
		Sequence *struct {
			ID string `json:"id"`
		}
	} `json:"single"` // of TemplateProcessing
	SpecialTokens map[string]struct {
		IDs []int `json:"ids"`
	} `json:"special_tokens"` // of TemplateProcessing
}

// jsonMerge is "left right" or, since 2024, ["left", "right"].
type jsonMerge [2]string

func (m *jsonMerge) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		s := string(data[1 : len(data)-1])
		if strings.Contains(s, `\`) { // few merges have an escape, and there are 280,000 of them
			if err := json.Unmarshal(data, &s); err != nil {
				return err
			}
		}
		left, right, ok := cutMerge(s)
		if !ok {
			return fmt.Errorf("merge %q is not two tokens with a space between", clip(s))
		}
		*m = jsonMerge{left, right}
		return nil
	}
	var two []string
	if err := json.Unmarshal(data, &two); err != nil {
		return err
	}
	if len(two) != 2 {
		return fmt.Errorf("a merge has %d tokens, not two", len(two))
	}
	*m = jsonMerge{two[0], two[1]}
	return nil
}
