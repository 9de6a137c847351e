package cache

import (
	"context"
	"encoding/binary"
	"testing"

	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
)

// TestUnread: state that no call reads is listed, so that whoever decodes computes it.
func TestUnread(t *testing.T) {
	const text = `zmlx 1
program keeps
case short when kv_len <= 2
  input tokens : int32[batch, seq_len]
  input offset : int32[]
  input cache.0.keys : float32[batch, 1, kv_cap, 4]
  input cache.0.index_keys : float32[batch, 1, kv_cap, 4]
  rows = broadcast_to(offset, shape=[batch, 1, seq_len, 4]) : int32[batch, 1, seq_len, 4]
  new = astype(rows, dtype=float32) : float32[batch, 1, seq_len, 4]
  keys = kv_append(cache.0.keys, new, offset) : float32[batch, 1, kv_cap, 4]
  index = kv_append(cache.0.index_keys, new, offset) : float32[batch, 1, kv_cap, 4]
  y = sum(keys, axis=[-1, -2, -3]) : float32[batch]
  output logits = y
  output cache.0.keys = keys
  output cache.0.index_keys = index
`
	p, issues := graph.ParseText("keeps.zg", []byte(text), nil)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	e := ref.New()
	c, err := New(e, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Unread(); len(got) != 0 {
		t.Errorf("%d before the first call", len(got))
	}
	s, err := e.Load(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := e.NewTensor(graph.Int32, []int{1, 1}, binary.LittleEndian.AppendUint32(nil, 7))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Step(context.Background(), s, tokens, 1); err != nil {
		t.Fatal(err)
	}
	if got := c.Unread(); len(got) != 1 || len(c.Tensors()) != 2 || got[0] != c.Tensors()[1] {
		t.Errorf("%d of %d are unread, want index_keys", len(got), len(c.Tensors()))
	}
}
