// Package engine is what runs programs: the interface that engine/ref (pure Go,
// the oracle) and engine/mlx (cgo over mlx-c) implement, and the choice of a case
// for a call, which both share.
//
// An engine is given a program and weights and knows nothing of rules. It refuses
// inputs that the program's signature does not ask for: it never converts an
// element type or broadcasts an input on its own.
//
// # Ownership
//
// Whoever gets a Tensor from NewTensor, from Step or from Run releases it, once.
// A tensor outlives the session that made it, but not its engine. Release never
// waits: a tensor may be released while a computation that reads it is under way.
//
// Step borrows its inputs: they are unchanged after it, and still the caller's.
// An input wrapped in Take is handed over instead. It belongs to Step from the
// call on, even if Step fails, and must not be used or released again. This is
// how a cache is updated without a copy: kv_append writes into the buffer of a
// cache that was handed over and that nothing else reads, and makes a new one
// otherwise. The results are the same either way.
//
//	in["cache.0.keys"] = engine.Take(keys)
//	out, err := session.Step(ctx, in, map[string]int64{"kv_len": n})
//	keys = out["cache.0.keys"]
//
// A session reads the weights that it was loaded with while it lives, so close
// the session first, then the weights. Closing an engine invalidates whatever it
// made.
package engine

import (
	"context"
	"time"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models/weights"
)

// Engine computes programs on one device. All methods may be called from several
// goroutines; an engine may run them one after the other.
type Engine interface {
	// Name is "ref" or "mlx".
	Name() string
	// Device is "cpu", "cuda" or "metal".
	Device() string
	// Version is that of the library that computes: "0.32.2". Together with Name
	// and Device it says what results may depend on.
	Version() string

	// Load makes a program ready to run. Every parameter of p is in w under its
	// name and with its type; parameters derived from others have been added to w
	// before. p must not be changed while the session lives.
	Load(ctx context.Context, p *graph.Program, w *weights.Store) (Session, error)

	// NewTensor makes a tensor of a copy of data: row-major, little-endian, as
	// many elements as shape asks for.
	NewTensor(t graph.DType, shape []int, data []byte) (Tensor, error)
	// Zeros makes a tensor of zeros where it computes, from no bytes of the host: empty caches may
	// take a hundred megabytes.
	Zeros(t graph.DType, shape []int) (Tensor, error)

	// Eval computes tensors and waits for them. AsyncEval starts computing them
	// and returns, so that the next step can be built meanwhile; errors of the
	// computation then come from whoever waits.
	Eval(ctx context.Context, tensors ...Tensor) error
	AsyncEval(tensors ...Tensor) error

	// Close releases the device and everything the engine made.
	Close() error
}

// KernelRunner is an engine that launches kernels, rather than the reference graphs
// that define them.
type KernelRunner interface {
	// RunsKernel reports why the engine cannot launch a kernel, or nil. A program given
	// to Load may call only kernels that it can.
	RunsKernel(s *kernels.Spec) error
	// Launches returns how often each kernel has been launched, by all engines of the
	// process: the difference of two calls says what ran between them. What has not
	// been computed, since nobody asked for it, has not been launched.
	Launches() map[string]int
}

// MemoryMeter is an engine that knows what its arrays take.
type MemoryMeter interface {
	// ResetPeak begins anew to look for the most.
	ResetPeak() error
	// PeakMemory is the most bytes that arrays took at once since then, of all engines of
	// the process.
	PeakMemory() (uint64, error)
}

// Session is a loaded program.
type Session interface {
	// Step runs the first case of the program that applies and returns the
	// results of its graph by name. Symbols are bound by the shapes of the inputs,
	// the others (kv_len) by dims. in holds exactly the inputs that the program's
	// graphs declare. The results may not have been computed yet: Read, Eval or
	// AsyncEval computes them.
	Step(ctx context.Context, in map[string]Tensor, dims map[string]int64) (map[string]Tensor, error)
	// Close releases the parameters.
	Close() error
}

// Tracer is a session that can tell where the time of a step goes.
type Tracer interface {
	// Trace is Step, but each node is computed on its own, before the next one begins, and
	// told of with the time from its start to its end. The results are the same. The times
	// add up to more than a step takes, in which nodes overlap and nobody waits between
	// them; and a cache may be copied that Step writes to in place.
	Trace(ctx context.Context, in map[string]Tensor, dims map[string]int64, each func(Traced)) (map[string]Tensor, error)
}

// Traced is one node of a step.
type Traced struct {
	Graph *graph.Graph
	Node  *graph.Node
	Env   map[string]int64 // the symbols of the step
	Time  time.Duration
}

// Tensor is an array on the engine's device.
type Tensor interface {
	DType() graph.DType
	// Shape must not be changed.
	Shape() []int
	// Read computes the tensor if need be and returns a copy of its elements,
	// row-major and little-endian.
	Read() ([]byte, error)
	// Release gives the tensor up.
	Release()
}

// Take hands a tensor over to the Step that it is given to (see Ownership).
func Take(t Tensor) Tensor { return taken{t} }

type taken struct{ Tensor }

// Taken returns the tensor behind Take, and whether it was handed over. It is
// for engines.
func Taken(t Tensor) (Tensor, bool) {
	if k, ok := t.(taken); ok {
		return k.Tensor, true
	}
	return t, false
}

// ReleaseTaken releases the inputs that were handed over, for a Step that fails
// before it used them. It is for engines.
func ReleaseTaken(in map[string]Tensor) {
	for _, t := range in {
		if t, ok := Taken(t); ok {
			t.Release()
		}
	}
}

// Run runs one graph once. It is for tests, proofs and graphs that are run too
// seldom to be kept loaded. w may be nil if g has no parameters.
func Run(ctx context.Context, e Engine, g *graph.Graph, w *weights.Store, in map[string]Tensor, dims map[string]int64) (map[string]Tensor, error) {
	p, err := Program(g)
	if err != nil {
		ReleaseTaken(in)
		return nil, err
	}
	s, err := e.Load(ctx, p, w)
	if err != nil {
		ReleaseTaken(in)
		return nil, err
	}
	defer s.Close()
	return s.Step(ctx, in, dims)
}

// Program makes a program of one graph: one case that always applies.
func Program(g *graph.Graph) (*graph.Program, error) {
	p := &graph.Program{Name: "graph", Cases: []graph.Case{{Name: "always", When: graph.True, Graph: g}}}
	for name, id := range g.Params() {
		if _, err := p.AddParam(&graph.Param{Name: name, Type: g.Type(id)}); err != nil {
			return nil, err
		}
	}
	return p, nil
}
