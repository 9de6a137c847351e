package main

import (
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
)

// verifyOptions are the flags of verify beyond those that choose a rewrite.
type verifyOptions struct {
	options
	text   textOptions
	format string
	device bool
	proofs ruleProofs
	// Of --device.
	budget time.Duration
	fresh  bool
	layers int
	random bool
	heavy  bool
	seed   uint64
}

func (a *app) verifyCmd() *cobra.Command {
	var v verifyOptions
	c := &cobra.Command{
		Use:   "verify [RULE|FILE...] | --model M [--device] | --replay FILE",
		Short: "Prove rules, compare a rewritten model with the original, or check replacements on this device",
		Long: "Verify proves rules, all or those named: each check from cheap to dear, against the small models\n" +
			"of every family, and against --model as well if rules are named. With --watch it does so again\n" +
			"whenever a file changes. docs/VERIFY.md says what each check means.\n\n" +
			"With --model and no rule it runs a model unrewritten and rewritten and compares tokens and logits; where they part, it\n" +
			"finds the one application of a rule that does it. With --device it compares each distinct\n" +
			"replacement with the MLX ops that stood there, on this device, in seconds, and remembers the\n" +
			"outcome: what fails is not used by apply and generate.",
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if v.replay != "" {
				if len(args) > 0 || v.model != "" {
					return diag.Errorf("usage/verify", diag.Pos{}, "--replay names all that is run again").WithHint("--home, --rules and --kernels take the place of what is in the file")
				}
				if err := oneOf("output", v.format, "text", "json"); err != nil {
					return err
				}
				return a.verifyReplay(c.Context(), v.replay, &v)
			}
			ofRules := v.model == "" || len(args) > 0 || v.proofs.watch
			switch {
			case v.format != "text" && v.format != "json" && !(v.format == "html" && ofRules):
				return diag.Errorf("usage/output", diag.Pos{}, "--output %q is neither text nor json, nor html of rules", v.format).WithHint("html is of rules: leave --model out, or give -o text")
			case v.device && ofRules:
				return diag.Errorf("usage/verify", diag.Pos{}, "verify needs --model for --device, and no rule").WithHint("name it with --model; --only chooses rules")
			case ofRules && ofModels(c) != "":
				return diag.Errorf("usage/verify", diag.Pos{}, "--%s says nothing of how rules are proven", ofModels(c)).WithHint("leave it out, or name a model to compare with its rewrite: --model MODEL, and no rule")
			case ofRules:
				return a.verifyRules(c.Context(), args, &v)
			case v.device:
				return a.verifyDevice(c.Context(), &v)
			}
			return a.verifyModel(c.Context(), &v)
		},
	}
	v.flags(c)
	v.dtypeFlag(c)
	v.text.flags(c, 48)
	v.proofs.flags(c)
	c.Flags().StringVar(&v.replay, "replay", "", "counterexample `file` that verify wrote: run it again, and fail while the results differ")
	f := c.Flags()
	f.StringVarP(&v.format, "output", "o", "text", "text, json, or of rules html")
	f.BoolVar(&v.device, "device", false, "check each distinct replacement on this device")
	f.DurationVar(&v.budget, "budget", 20*time.Second, "with --device: `time` for all replacements; what is left out is named; 0 is as long as it takes")
	f.BoolVar(&v.fresh, "fresh", false, "with --device: check again what has been checked before")
	f.IntVar(&v.layers, "layers", 1, "with --device: check each replacement in the first `n` layers that have it, on the model's own activations too if n is more than 1")
	f.BoolVar(&v.random, "random-weights", false, "with --device: make up the weights of a configuration that has none")
	f.BoolVar(&v.heavy, "heavy-tailed", false, "with --random-weights: deviations with the tail of Student's t")
	f.Uint64Var(&v.seed, "seed", 1, "with --random-weights: seed of the random numbers")
	return c
}

// ofModels is a flag that was given and that only the comparison of models looks at, "" if
// there is none.
func ofModels(c *cobra.Command) string {
	for _, name := range []string{"only", "exclude", "force", "preset", "dims", "dtype", "no-ledger", "prompt", "max-tokens", "system-prompt", "ignore-chat-template", "prefill-step-size", "ignore-eos",
		"budget", "fresh", "layers", "random-weights", "heavy-tailed", "seed"} {
		if c.Flags().Changed(name) {
			return name
		}
	}
	return ""
}
