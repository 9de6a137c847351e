package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/models/chattemplate"
	"zmlx-rewrite/models/tokenizer"
)

// mlxLMFlags are flags that mlx-lm's generate and chat have, and that change nothing here.
func (t *textOptions) mlxLMFlags(c *cobra.Command) {
	c.Flags().Bool("trust-remote-code", false, "taken and without effect: no code of a model is run")
}

// verbosity is the flag --verbose of generate, with a value as in mlx-lm or without one as
// in the other commands.
type verbosity struct{ a *app }

// bareVerbose is the value of the flag without one.
const bareVerbose = "log"

func (v verbosity) String() string { return "" }
func (v verbosity) Type() string   { return "value" }

func (v verbosity) Set(s string) error {
	switch strings.ToLower(s) {
	case bareVerbose:
		v.a.verbose = true
	case "true", "t":
	case "false", "f":
		v.a.quiet = true
	default:
		return fmt.Errorf("it is True or False, or nothing")
	}
	return nil
}

// joinVerbose writes "generate ... --verbose False" as "--verbose=False": a flag that may
// stand without a value takes none from the next argument.
func joinVerbose(args []string) []string {
	if len(args) == 0 || args[0] != "generate" {
		return args
	}
	args = slices.Clone(args)
	for i := 0; i+1 < len(args); i++ {
		if args[i] == "--verbose" && slices.Contains([]string{"true", "t", "false", "f"}, strings.ToLower(args[i+1])) {
			args[i] += "=" + args[i+1]
			args = slices.Delete(args, i+1, i+2)
		}
	}
	return args
}

// ofTransformers are arguments of transformers' apply_chat_template, which are no variables.
// mlx-lm sets some of them itself; the others say what becomes of the text.
var ofTransformers = []string{"conversation", "messages", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize", "sanitize_control_tokens",
	"padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"}

// variables adds to those of a chat template what mlx-lm adds, and what --chat-template-config
// says. It returns the tools that this names.
func (t *textOptions) variables(tok *tokenizer.Tokenizer, extra map[string]any) (tools []*chattemplate.Dict, err error) {
	extra["enable_thinking"] = thinks(func(token string) bool { _, ok := tok.ID(token); return ok })
	if t.chatConfig == "" {
		return nil, nil
	}
	const flag = "--chat-template-config"
	value, err := chattemplate.DecodeJSON(flag, []byte(t.chatConfig))
	if err != nil {
		return nil, err
	}
	wrong := func(format string, args ...any) error {
		return diag.Errorf("usage/template", diag.Pos{File: flag}, format, args...).WithHint(`it is a JSON object of variables: '{"enable_thinking": false}'`)
	}
	d, ok := value.(*chattemplate.Dict)
	if !ok {
		return nil, wrong("is not an object")
	}
	for _, name := range d.Keys() {
		v, _ := d.Get(name)
		switch {
		case slices.Contains(ofTransformers, name):
			return nil, wrong("%s is no variable of a chat template", name)
		case name != "tools":
			extra[name] = v
		case v != nil:
			list, ok := v.([]any)
			if !ok {
				return nil, wrong("tools are a list of objects")
			}
			tools = []*chattemplate.Dict{}
			for _, x := range list {
				one, ok := x.(*chattemplate.Dict)
				if !ok {
					return nil, wrong("tools are a list of objects")
				}
				tools = append(tools, one)
			}
		}
	}
	return tools, nil
}

// thinks reports whether mlx-lm takes a tokenizer for one of a model that thinks, by the tokens
// it has (tokenizer_utils.py, _infer_thinking).
func thinks(has func(token string) bool) bool {
	for _, marks := range [][]string{{"<think>", "</think>"}, {"<longcat_think>", "</longcat_think>"}, {"<|think:start|>", "<|think:end|>"},
		{"<|channel>", "<channel|>"}, {"<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"}} {
		if !slices.ContainsFunc(marks, func(m string) bool { return !has(m) }) {
			return true
		}
	}
	return false
}
