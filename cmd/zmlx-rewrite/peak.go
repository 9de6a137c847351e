package main

import (
	"context"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// peaks measures the memory that each of two programs needs, though both are loaded, with one
// copy of the weights that they share: the most that arrays took while one ran, less what was
// there beforehand (of the other one, and of whatever else is loaded), and with the program's
// own parameters and what it keeps from one run to the next.
type peaks struct {
	engine engine.Engine
	meter  engine.MemoryMeter // nil: the engine does not tell
	rest   func()             // empties all caches
	params [2]int64
	kept   [2]int64 // by replays, say
}

func newPeaks(e engine.Engine, w *weights.Store, sides [2]*programs, rest func()) *peaks {
	p := &peaks{engine: e, rest: rest}
	p.meter, _ = e.(engine.MemoryMeter)
	for i, s := range sides {
		p.params[i] = paramBytes(w, s.loaded())
	}
	return p
}

// paramBytes is what the parameters of programs take if nothing else is loaded. One that is a
// part of another one that they read takes nothing more.
func paramBytes(w *weights.Store, list []*graph.Program) int64 {
	read := map[string]bool{}
	for _, p := range list {
		for _, c := range p.Cases {
			for name := range c.Graph.Params() {
				read[name] = true
			}
		}
	}
	sum := int64(0)
	for name := range read {
		if v, ok := w.ViewOf(name); ok && read[v.Owner] {
			continue
		}
		if t := w.Get(name); t != nil {
			sum += int64(t.NumBytes())
		}
	}
	return sum
}

// of runs a side, and returns the most bytes that its arrays took; 0 if the engine does not
// tell.
func (p *peaks) of(side int, run func() error) (uint64, error) {
	if p.meter == nil {
		return 0, run()
	}
	p.rest()
	before, err := p.now()
	if err != nil {
		return 0, err
	}
	if err := p.meter.ResetPeak(); err != nil {
		return 0, err
	}
	if err := run(); err != nil {
		return 0, err
	}
	peak, err := p.meter.PeakMemory()
	if err != nil {
		return 0, err
	}
	p.rest()
	after, err := p.now()
	if err != nil {
		return 0, err
	}
	alone := int64(peak) - before + p.params[side] + p.kept[side]
	p.kept[side] += max(after-before, 0)
	return uint64(max(alone, 0)), nil
}

// now is what arrays take: the most that they took while a small one was computed.
func (p *peaks) now() (int64, error) {
	g := graph.New()
	x := g.Input("x", graph.T(graph.Int32, graph.N(1)))
	y, err := g.Add(graph.LookupOp("negative"), "", []graph.ValueID{x})
	if err != nil {
		return 0, err
	}
	g.Output("y", y[0])
	in, err := p.engine.NewTensor(graph.Int32, []int{1}, make([]byte, 4))
	if err != nil {
		return 0, err
	}
	defer in.Release()
	if err := p.meter.ResetPeak(); err != nil {
		return 0, err
	}
	ctx := context.Background()
	out, err := engine.Run(ctx, p.engine, g, nil, map[string]engine.Tensor{"x": in}, nil)
	if err != nil {
		return 0, err
	}
	defer out["y"].Release()
	if err := p.engine.Eval(ctx, out["y"]); err != nil {
		return 0, err
	}
	n, err := p.meter.PeakMemory()
	return int64(n), err
}
