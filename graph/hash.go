package graph

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
)

// Hash is the fingerprint of a value, a graph or a program: SHA-256 over what it
// computes. Journals, contracts and caches carry it across processes, so its
// definition does not change; hashVersion would have to.
type Hash [sha256.Size]byte

// String prints the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

const hashVersion = 1

// What is hashed: a tag, then the parts in a fixed order, each text and each list
// with its length in front, so that no two things are written alike.
const (
	tagNode byte = iota + 1
	tagResult
	tagGraph
	tagProgram
)

// encoder appends what is to be hashed to a buffer.
type encoder []byte

func (e *encoder) uint(n int) { *e = binary.AppendUvarint(*e, uint64(n)) }
func (e *encoder) int(n int)  { *e = binary.AppendVarint(*e, int64(n)) }
func (e *encoder) text(s string) {
	e.uint(len(s))
	*e = append(*e, s...)
}

func (e *encoder) dim(d Dim) {
	*e = binary.AppendVarint(*e, d.n)
	if d.p == nil {
		*e = append(*e, 0)
	} else {
		e.text(d.p.text)
	}
}

func (e *encoder) dims(ds []Dim) {
	e.uint(len(ds))
	for _, d := range ds {
		e.dim(d)
	}
}

func (e *encoder) typ(t Type) {
	*e = append(*e, byte(t.DType))
	e.dims(t.Shape)
}

func (e *encoder) attr(a Attr) {
	switch a := a.(type) {
	case Dim:
		*e = append(*e, 'i')
		e.dim(a)
	case Dims:
		*e = append(*e, 'l')
		e.dims(a)
	case Float: // as Float.Equal compares
		*e = binary.LittleEndian.AppendUint32(append(*e, 'f'), math.Float32bits(float32(a)))
	case Flag:
		*e = append(*e, 'b', 0)
		if a {
			(*e)[len(*e)-1] = 1
		}
	case Str:
		*e = append(*e, 's')
		e.text(string(a))
	case DType:
		*e = append(*e, 't', byte(a))
	case *Literal:
		*e = append(*e, 'c', byte(a.DType))
		e.uint(len(a.Shape))
		for _, n := range a.Shape {
			e.uint(n)
		}
		e.uint(len(a.Data))
		*e = append(*e, a.Data...)
	default:
		panic("graph: attribute of unknown kind")
	}
}

// ValueHashes returns the hash of every value of g, by ID. Two values have the
// same hash exactly if the same ops with the same attributes compute them from
// inputs and parameters of the same names and types and constants of the same
// bytes. Scopes do not count, the order of operands does, commutative or not.
// Attributes at their default are left out, as in the text form, so that an op
// can get a new one without changing the hash of graphs that do not use it.
// g must be in topological order, as Compact leaves it.
func (g *Graph) ValueHashes() []Hash {
	if len(g.repl) > 0 {
		panic("graph: hash of a graph with pending replacements; Compact comes first")
	}
	hashes := make([]Hash, len(g.values))
	var e encoder
	for i := range g.nodes {
		n := &g.nodes[i]
		e = append(e[:0], tagNode)
		e.text(n.Op.Name)
		e.uint(len(n.In))
		for _, v := range n.In {
			if v == None {
				e = append(e, 0)
			} else {
				e = append(append(e, 1), hashes[v][:]...)
			}
		}
		for k, a := range n.Attrs {
			spec := &n.Op.Attrs[k]
			if a == nil || spec.Default != nil && spec.Default.Equal(a) {
				continue
			}
			e.text(spec.Name)
			e.attr(a)
		}
		if n.Op == opInput || n.Op == opParam {
			e.typ(g.values[n.Out[0]].Type())
		}
		h := Hash(sha256.Sum256(e))
		if len(n.Out) == 1 {
			hashes[n.Out[0]] = h
			continue
		}
		for k, v := range n.Out {
			e = append(append(e[:0], tagResult), h[:]...)
			e.uint(k)
			hashes[v] = sha256.Sum256(e)
		}
	}
	return hashes
}

// Hash returns the hash of the graph as a function: of its inputs, used or not,
// and its outputs, by name and in order. The numbering of nodes and nodes that
// no output needs do not count.
func (g *Graph) Hash() Hash {
	values := g.ValueHashes()
	e := encoder{tagGraph, hashVersion}
	e.uint(len(g.inputs))
	for _, v := range g.inputs {
		e.text(g.InputName(v))
		e.typ(g.values[v].Type())
	}
	e.uint(len(g.outputs))
	for _, o := range g.outputs {
		e.text(o.Name)
		e = append(e, values[o.Value][:]...)
	}
	return sha256.Sum256(e)
}

// Hash returns the hash of the program: of its cases with their conditions as
// they are written, in order, and of its table of parameters. The names of the
// program and its cases are for people and do not count.
func (p *Program) Hash() Hash {
	e := encoder{tagProgram, hashVersion}
	e.uint(len(p.Params))
	for _, q := range p.Params {
		e.text(q.Name)
		e.typ(q.Type)
		e.text(q.Part)
		if z := q.Quant; z != nil {
			e.text(z.Module)
			e.text(z.Mode)
			e.int(z.Bits)
			e.int(z.GroupSize)
		}
		d := q.From
		if d == nil {
			e.uint(0)
			continue
		}
		e.uint(1)
		e.text(d.Op)
		e.uint(len(d.Args))
		for _, a := range d.Args {
			e.text(a)
		}
		e.int(d.Axis)
		e.int(d.Start)
		e.int(d.Stop)
		e.uint(len(d.Perm))
		for _, k := range d.Perm {
			e.int(k)
		}
		if derivedOps[d.Op].shape {
			e.uint(len(d.Shape))
			for _, n := range d.Shape {
				e.int(n)
			}
		}
	}
	e.uint(len(p.Cases))
	for i := range p.Cases {
		e.text(p.Cases[i].When.String())
		h := p.Cases[i].Graph.Hash()
		e = append(e, h[:]...)
	}
	if p.Window != 0 {
		e.text("window")
		e.int(p.Window)
	}
	return sha256.Sum256(e)
}
