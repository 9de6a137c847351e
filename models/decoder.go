package models

// decoder is what the models have around their layers: embedding, last norm, head.
type decoder struct {
	hiddenSize, numHiddenLayers, vocabSize int
	rmsNormEps                             float64
	tieWordEmbeddings                      bool
	finalNorm                              string // the module's name where it is not "norm"
}

// around is Model.__call__ of mlx-lm with the inner model's __call__ inlined; block is
// its layer.
func (d *decoder) around(m module, tokens value, block func(m module, layer int, x value) value) value {
	model := m.sub("model")
	embed := model.sub("embed_tokens")
	h := embed.embedding(tokens, d.vocabSize, d.hiddenSize)
	for i := range d.numHiddenLayers {
		h = block(model.layer(i), i, h)
	}
	norm := "norm"
	if d.finalNorm != "" {
		norm = d.finalNorm
	}
	out := model.rmsNorm(norm, h, d.rmsNormEps)
	if d.tieWordEmbeddings {
		return embed.asLinear(out, d.vocabSize)
	}
	return m.linear("lm_head", out, d.vocabSize, false)
}
