package tokenizer

import (
	"zmlx-rewrite/diag"
)

// vocab is the table of tokens.
type vocab struct {
	tokens []token
	ids    map[string]int32
}

type token struct {
	text    string // as in the vocabulary: in the byte alphabet, if all its characters are in it
	used    bool   // an id may be free
	special bool
}

// sparse limits the table: ids may have gaps, but a file must not make us
// allocate a table by writing one large number.
func sparse(entries int) int { return 2*entries + 1024 }

// newVocab makes the table from token → id.
func newVocab(file string, ids map[string]int32, room int) (vocab, error) {
	v := vocab{ids: ids}
	limit := sparse(room)
	for text, id := range ids {
		if id < 0 || int(id) >= limit {
			return vocab{}, diag.Errorf("tokenizer/vocab", diag.Pos{File: file}, "token %q has id %d; a vocabulary of %d tokens may use ids 0 to %d", clip(text), id, room, limit-1).
				WithHint("the file is damaged or made up: fetch it again")
		}
		if err := v.set(file, text, id); err != nil {
			return vocab{}, err
		}
	}
	return v, nil
}

// set gives id to text, which may have that same id already.
func (v *vocab) set(file, text string, id int32) error {
	for int(id) >= len(v.tokens) {
		v.tokens = append(v.tokens, token{})
	}
	if t := &v.tokens[id]; t.used && t.text != text {
		return diag.Errorf("tokenizer/vocab", diag.Pos{File: file}, "tokens %q and %q both have id %d", clip(min(t.text, text)), clip(max(t.text, text)), id).
			WithHint("the file is damaged: fetch it again")
	}
	v.tokens[id].text, v.tokens[id].used = text, true
	v.ids[text] = id
	return nil
}

// clip shortens a token for a message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
