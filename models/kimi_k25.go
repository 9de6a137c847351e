package models

import "strings"

// kimiK25 is mlx_lm/models/kimi_k25.py: the text model of Kimi-K2.5, a DeepSeek-V3
// under the name language_model. What sees images is dropped.
type kimiK25 struct{ *deepseekV3 }

func newKimiK25(f *fields) network {
	text := f.object("text_config")
	if text == nil {
		f.missing("text_config")
		return &kimiK25{newDeepseek(f)}
	}
	// mlx_lm.convert writes a block of its own for the whole model, and leaves this one.
	if q := text.object("quantization_config"); q != nil && !f.has("quantization") {
		q.fail("quant_method", "unsupported", "%q is not supported", q.textOr("quant_method", "")).
			WithHint("convert the original model with mlx_lm.convert -q")
	}
	return &kimiK25{newDeepseek(text)}
}

func (n *kimiK25) forward(m module, tokens value) value {
	return n.deepseekV3.forward(m.sub("language_model"), tokens)
}

func (n *kimiK25) drops(name string) bool {
	if name, ok := strings.CutPrefix(name, "language_model."); ok {
		return n.deepseekV3.drops(name)
	}
	top, _, _ := strings.Cut(name, ".")
	switch top {
	case "vision_tower", "vision_model", "multi_modal_projector", "mm_projector":
		return true
	}
	return false
}
