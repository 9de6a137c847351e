//go:build mlx

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tinyIdentities are tiny models in float32 whose tokens a rewrite must not change, and
// the kernels of their decode step. Preset all has the rules that are for a GPU, too.
var tinyIdentities = []struct {
	name, preset string
	kernels      []string
}{
	{"gpt_oss-f32", "inference", []string{"add_rms_norm", "router_topk_softmax"}},
	{"gpt_oss-plain-f32", "inference", []string{"add_rms_norm", "qk_rope", "router_topk_softmax"}},
	{"gpt_oss-f32-4bit", "inference", []string{"add_rms_norm", "gather_qmm_combine_add", "gather_qmm_swiglu_oai", "moe_combine", "qmv", "qmv_add", "router_topk_softmax"}},
	{"gpt_oss-f32-4bit", "all", []string{"gather_qmm_combine_add", "gather_qmm_swiglu_oai", "qmv_add", "sdpa_decode"}},
	{"gpt_oss-plain-f32", "all", []string{"qk_rope", "sdpa_decode"}},
	{"gpt_oss-blocks-f32", "inference", []string{"add_rms_norm", "gather_qmm_combine_add", "gather_qmm_swiglu_oai", "moe_combine", "router_topk_softmax"}},
	{"lfm2-f32", "inference", []string{"add_rms_norm", "qk_norm_rope", "short_conv", "swiglu"}},
	{"lfm2-f32-4bit", "inference", []string{"add_rms_norm", "qk_norm_rope", "qmv", "qmv_swiglu", "short_conv"}},
	{"lfm2_moe-f32", "inference", []string{"add_rms_norm", "moe_combine", "qk_norm_rope", "router_sigmoid_topk", "short_conv", "swiglu"}},
	{"lfm2_moe-hf-f32", "inference", []string{"router_sigmoid_topk", "short_conv"}},
	{"lfm2_moe-f32-4bit", "inference", []string{"add_rms_norm", "gather_qmm_combine", "gather_qmm_swiglu", "qk_norm_rope", "qmv", "qmv_swiglu", "router_sigmoid_topk", "short_conv"}},
	{"lfm2-f32-4bit", "all", []string{"qmv_add", "rms_norm_qmv", "rms_norm_qmv_short_conv", "rms_norm_qmv_swiglu"}},
	{"lfm2_moe-f32-4bit", "all", []string{"gather_qmm_combine_add", "qmv_add", "rms_norm_gather_qmm_swiglu", "rms_norm_qmv", "rms_norm_qmv_short_conv", "router_sigmoid_topk"}},
	{"glm4_moe_lite-f32", "inference", []string{"add_rms_norm", "mla_decode", "moe_combine_fp32", "router_sigmoid_topk_first", "swiglu"}},
	{"glm4_moe_lite-hf-f32", "inference", []string{"mla_decode", "router_sigmoid_topk_first"}},
	{"glm4_moe_lite-plain-f32", "inference", []string{"mla_decode"}},
	{"glm4_moe_lite-f32-4bit", "inference", []string{"add_rms_norm", "gather_qmm_combine_fp32", "gather_qmm_swiglu", "mla_decode", "qmv", "qmv_swiglu", "router_sigmoid_topk_first"}},
	{"glm4_moe_lite-f32-4bit", "all", []string{"mla_decode", "qk_rope", "qmv_add", "qmv_swiglu", "rms_norm_qmv"}},
	{"deepseek_v3-f32", "inference", []string{"mla_decode", "router_sigmoid_group_topk"}},
	{"deepseek_v3-pairs-f32", "inference", []string{"mla_decode", "router_sigmoid_group_topk"}},
	{"deepseek_v3-one-f32", "inference", []string{"mla_decode"}},
	{"deepseek_v3-f32-4bit", "inference", []string{"gather_qmm_combine_fp32", "gather_qmm_swiglu", "mla_decode", "qmv", "router_sigmoid_group_topk"}},
	{"deepseek_v3-f32-4bit", "all", []string{"mla_decode", "qmv_add", "rms_norm_qmv"}},
	{"kimi_k25-f32-4bit", "inference", []string{"gather_qmm_combine_fp32", "mla_decode", "qmv", "router_sigmoid_topk_first"}},
	{"deepseek_v32-f32", "inference", []string{"add_rms_norm", "router_sigmoid_group_topk"}},
	{"deepseek_v32-f32-4bit", "inference", []string{"gather_qmm_combine_fp32", "gather_qmm_swiglu", "qmv", "router_sigmoid_group_topk"}},
	{"gemma-f32", "inference", []string{"add_rms_norm", "geglu_erf", "qk_rope"}},
	{"gemma-f32-4bit", "inference", []string{"add_rms_norm", "geglu_erf", "qk_rope", "qmv"}},
	{"gemma-f32-4bit", "all", []string{"geglu_erf", "qk_rope", "qmv_add", "rms_norm_qmv"}},
	{"gemma2-f32", "inference", []string{"add_rms_norm", "geglu_tanh", "qk_rope"}},
	{"gemma2-heads-f32", "inference", []string{"add_rms_norm", "geglu_tanh", "qk_rope"}},
	{"gemma2-f32-4bit", "inference", []string{"add_rms_norm", "qk_rope", "qmv", "qmv_geglu"}},
	{"gemma3-f32", "inference", []string{"add_rms_norm", "geglu_tanh", "qk_norm_rope"}},
	{"gemma3_text-f32", "inference", []string{"add_rms_norm", "geglu_tanh", "qk_norm_rope"}},
	{"gemma3_text-head-f32", "inference", []string{"add_rms_norm", "geglu_tanh", "qk_norm_rope"}},
	{"gemma3_text-global-f32", "inference", []string{"add_rms_norm", "geglu_tanh", "qk_norm_rope"}},
	{"gemma3_text-f32-4bit", "inference", []string{"add_rms_norm", "qk_norm_rope", "qmv", "qmv_geglu"}},
	{"qwen3_next-f32", "inference", []string{"add_rms_norm", "qk_norm_rope", "router_softmax_topk", "swiglu"}},
	{"qwen3_next-heads-f32", "inference", []string{"add_rms_norm", "qk_norm_rope", "swiglu"}},
	{"qwen3_next-f32-4bit", "inference", []string{"add_rms_norm", "gather_qmm_combine", "gather_qmm_swiglu", "qk_norm_rope", "qmv", "qmv_swiglu", "router_softmax_topk", "swiglu"}},
	{"gemma3_text-f32-4bit", "all", []string{"add_rms_norm", "qk_norm_rope", "qmv_geglu", "rms_norm_qmv"}},
}

// TestTinyIdentity is TestTokenIdentity for families of which there are tiny models only:
// the tokens of the prompts in testdata/tiny, which mlx-lm continued.
func TestTinyIdentity(t *testing.T) {
	for _, m := range tinyIdentities {
		t.Run(m.name+"/"+m.preset, func(t *testing.T) {
			dir := filepath.Join("../../.cache/oracle/tiny", m.name)
			if _, err := os.Stat(dir); err != nil {
				t.Skip("the tiny models are not in .cache/oracle/tiny: scripts/oracle/tiny_models.py makes them")
			}
			family, _, _ := strings.Cut(m.name, "-")
			text, err := os.ReadFile(filepath.Join("../../testdata/tiny", family+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var goldens struct {
				Models map[string]struct {
					Runs []struct {
						Prompt, Tokens [][]int
						Margins        [][]float64
					}
				}
			}
			if err := json.Unmarshal(text, &goldens); err != nil {
				t.Fatal(err)
			}
			p := newIdentity(t, dir, m.preset, "float32")
			perStep := kernelCalls(p.rewritten, []int{1}, 1)
			for _, k := range m.kernels {
				if perStep[k] == 0 {
					t.Errorf("no %s in a decode step: %v", k, perStep)
				}
			}
			runs := 0
			for _, r := range goldens.Models[m.name].Runs {
				// Of each run the first sequence; run counts a call for the prompt, too.
				if len(r.Prompt[0]) < 2 {
					continue
				}
				runs++
				p.run(t, &identityRun{m.name, r.Prompt[0], r.Tokens[0], r.Margins[0]}, len(r.Tokens[0]), perStep)
			}
			if runs == 0 {
				t.Error("no prompts")
			}
		})
	}
}
