package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"zmlx-rewrite/diag"
)

// against are the options of what these are to be compared with: flags are words apart from
// each other by blanks, and what they do not name is as here.
func (o *options) against(flags string) (*options, error) {
	x := &options{}
	c := &cobra.Command{Use: "--against"}
	x.flags(c)
	x.kv.startFlag(c)
	c.Flags().BoolVar(&x.none, "no-rewrite", false, "")
	*x = *o
	x.flagsGiven = strings.Join(strings.Fields(flags), " ")
	if x.kv.flags = c; o.kv.flags != nil { // what was said here is not the profile's to say there
		o.kv.flags.Flags().Visit(func(f *pflag.Flag) {
			if g := c.Flags().Lookup(f.Name); g != nil {
				g.Changed = true
			}
		})
	}
	err := c.ParseFlags(strings.Fields(flags))
	if errors.Is(err, pflag.ErrHelp) || err == nil && c.Flags().NArg() > 0 {
		err = errors.New("flags are expected")
	}
	if err != nil {
		return nil, diag.Errorf("usage/against", diag.Pos{}, "--against %q: %v", flags, err).
			WithHint("it takes the flags that choose a rewrite or a cache, such as --against '--exclude RULE', and --no-rewrite")
	}
	return x, nil
}

// sameWeights demands that the other program runs on the weights of this model.
func (p *pair) sameWeights() error {
	for _, q := range p.other.s.program.Params {
		if q.From != nil {
			continue
		}
		mine := p.s.program.Param(q.Name)
		if mine == nil {
			return diag.Errorf("usage/against", diag.Pos{File: p.other.s.name}, "its program needs the weight %s, which %s has not", q.Name, p.s.name).
				WithHint("--against compares programs on the weights of --model")
		}
		if mine.Type.String() != q.Type.String() {
			return diag.Errorf("usage/against", diag.Pos{File: p.other.s.name}, "its weight %s is %s, that of %s is %s", q.Name, q.Type, p.s.name, mine.Type).
				WithHint("--against compares programs on the weights of --model")
		}
	}
	return nil
}

// sameSides reports whether both sides run the same programs and kernels.
func (p *pair) sameSides() bool {
	a, b := p.runs[0].loaded(), p.runs[1].loaded()
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Hash() != b[i].Hash() {
			return false
		}
	}
	x, y := kernelHashes(p.catalog, a...), kernelHashes(p.catalog, b...)
	for name := range x {
		if x[name] != y[name] {
			return false
		}
	}
	return true
}
