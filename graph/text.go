package graph

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/graph/syntax"
)

// TextVersion is the version of the text form, on its first line: "zmlx 1".
const TextVersion = 1

// Text prints a program in the text form (.zg), which ParseText reads:
//
//	zmlx 1
//	program llama
//	window 128                  (only where layers have a sliding window)
//	param model.norm.weight : float32[576]
//	case decode when seq_len == 1
//	  input tokens : int32[batch, 1]
//	  v0 = take(model.embed_tokens.weight, tokens, axis=-2) : uint32[batch, 1, 144] @ model.embed_tokens
//	  output logits = v0
//
// Attributes that have their default are not written. Inputs and parameters go
// by their names, all other values by v and a number in order, leaving out
// numbers that are some input's or parameter's name. The text says nothing about
// nodes' IDs. p must verify.
func (p *Program) Text() []byte {
	b := []byte("zmlx " + strconv.Itoa(TextVersion) + "\nprogram")
	if p.Name != "" {
		b = append(append(b, ' '), syntax.QuoteName(p.Name)...)
	}
	b = append(b, '\n')
	if p.Window != 0 {
		b = append(strconv.AppendInt(append(b, "window "...), int64(p.Window), 10), '\n')
	}
	taken := map[string]bool{}
	for _, q := range p.Params {
		b = q.appendText(b)
		reserveName(taken, q.Name)
	}
	for i := range p.Cases {
		c := &p.Cases[i]
		b = append(b, "case"...)
		switch c.Name {
		case "":
		case "when":
			b = append(b, " `when`"...)
		default:
			b = append(append(b, ' '), syntax.QuoteName(c.Name)...)
		}
		if !c.When.IsTrue() {
			b = append(append(b, " when "...), c.When.String()...)
		}
		b = append(b, '\n')
		b = c.Graph.appendText(b, taken)
	}
	return b
}

// String prints a graph as one case of a program, with the parameters that it
// reads in front.
func (g *Graph) String() string {
	var b []byte
	taken := map[string]bool{}
	params := g.Params()
	for _, name := range slices.Sorted(maps.Keys(params)) {
		b = (&Param{Name: name, Type: g.Type(params[name])}).appendText(append(b, "  "...))
		reserveName(taken, name)
	}
	return string(g.appendText(b, taken))
}

// reserveName keeps a name that looks like a value's from being given to one.
func reserveName(taken map[string]bool, name string) {
	if len(name) > 1 && name[0] == 'v' && '0' <= name[1] && name[1] <= '9' {
		taken[name] = true
	}
}

func (q *Param) appendText(b []byte) []byte {
	b = append(b, "param "...)
	b = append(b, syntax.QuoteName(q.Name)...)
	b = append(append(b, " : "...), q.Type.String()...)
	if z := q.Quant; z != nil {
		b = append(b, " quant("...)
		b = strconv.AppendQuote(b, z.Module)
		b = append(b, ", part="...)
		b = strconv.AppendQuote(b, q.Part)
		b = append(b, ", mode="...)
		b = strconv.AppendQuote(b, z.Mode)
		b = strconv.AppendInt(append(b, ", bits="...), int64(z.Bits), 10)
		b = strconv.AppendInt(append(b, ", group_size="...), int64(z.GroupSize), 10)
		b = append(b, ')')
	}
	if d := q.From; d != nil {
		b = append(b, " = "...)
		b = append(b, d.Op...)
		b = append(b, '(')
		for i, a := range d.Args {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, syntax.QuoteName(a)...)
		}
		spec := derivedOps[d.Op]
		if spec.axis {
			b = strconv.AppendInt(append(b, ", axis="...), int64(d.Axis), 10)
		}
		if spec.span {
			b = strconv.AppendInt(append(b, ", start="...), int64(d.Start), 10)
			b = strconv.AppendInt(append(b, ", stop="...), int64(d.Stop), 10)
		}
		if spec.perm {
			b = appendInts(append(b, ", perm="...), d.Perm)
		}
		if spec.shape {
			b = appendInts(append(b, ", shape="...), d.Shape)
		}
		b = append(b, ')')
	}
	return append(b, '\n')
}

func appendInts(b []byte, list []int) []byte {
	b = append(b, '[')
	for i, n := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, ']')
}

// appendText prints the body of a case. taken holds the parameters' names that
// values must not get.
func (g *Graph) appendText(b []byte, taken map[string]bool) []byte {
	inputs := map[string]bool{}
	for _, v := range g.inputs {
		name := g.InputName(v)
		reserveName(inputs, name)
		b = append(append(b, "  input "...), syntax.QuoteName(name)...)
		b = append(append(b, " : "...), g.Type(v).String()...)
		b = append(b, '\n')
	}
	numbers := g.number(taken, inputs)
	ref := func(v ValueID) {
		if v == None {
			b = append(b, "none"...)
		} else if name := g.InputName(v); name != "" {
			b = append(b, syntax.QuoteName(name)...)
		} else {
			b = strconv.AppendInt(append(b, 'v'), int64(numbers[v]), 10)
		}
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		if n.Op == opInput || n.Op == opParam {
			continue
		}
		b = append(b, "  "...)
		for k, v := range n.Out {
			if k > 0 {
				b = append(b, ", "...)
			}
			ref(v)
		}
		b = append(append(b, " = "...), n.Op.Name...)
		b = append(b, '(')
		comma := false
		sep := func() {
			if comma {
				b = append(b, ", "...)
			}
			comma = true
		}
		for _, v := range n.In {
			sep()
			ref(v)
		}
		if n.Op == opConstant {
			b = n.Attrs[0].(*Literal).appendText(b)
		} else {
			for k, a := range n.Attrs {
				spec := &n.Op.Attrs[k]
				if a == nil || spec.Default != nil && spec.Default.Equal(a) {
					continue
				}
				sep()
				b = append(append(b, spec.Name...), '=')
				b = append(b, AttrText(spec.Kind, a)...)
			}
		}
		b = append(b, ')')
		for k, v := range n.Out {
			if k == 0 {
				b = append(b, " : "...)
			} else {
				b = append(b, ", "...)
			}
			b = append(b, g.Type(v).String()...)
		}
		if n.Scope != "" {
			b = append(append(b, " @ "...), syntax.QuoteName(n.Scope)...)
		}
		b = append(b, '\n')
	}
	for _, o := range g.outputs {
		b = append(append(b, "  output "...), syntax.QuoteName(o.Name)...)
		b = append(b, " = "...)
		ref(o.Value)
		b = append(b, '\n')
	}
	return b
}

// number numbers the values that have no names, but for numbers that would look like one
// of these names.
func (g *Graph) number(names ...map[string]bool) []int32 {
	taken := map[string]bool{}
	for _, m := range names {
		maps.Copy(taken, m)
	}
	numbers := make([]int32, len(g.values))
	next := int32(0)
	for i := range g.nodes {
		n := &g.nodes[i]
		if n.Op == opInput || n.Op == opParam {
			continue
		}
		for _, v := range n.Out {
			for len(taken) > 0 && taken["v"+strconv.Itoa(int(next))] {
				next++
			}
			numbers[v] = next
			next++
		}
	}
	return numbers
}

// ValueNames returns, for each value of the graph of one of p's cases, what the text of p
// calls it.
func (p *Program) ValueNames(g *Graph) []string {
	taken := map[string]bool{}
	for _, q := range p.Params {
		reserveName(taken, q.Name)
	}
	for _, v := range g.inputs {
		reserveName(taken, g.InputName(v))
	}
	names := make([]string, len(g.values))
	for v, n := range g.number(taken) {
		if names[v] = g.InputName(ValueID(v)); names[v] == "" {
			names[v] = "v" + strconv.Itoa(int(n))
		}
	}
	return names
}

// floatText prints v as the shortest decimal that reads back to the same number
// in the given bits; with 32, a v that is no float32 is printed in full.
func floatText(v float64, bits int) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	if float64(float32(v)) != v {
		bits = 64
	}
	s := strconv.FormatFloat(v, 'g', -1, bits)
	if !strings.ContainsAny(s, ".e") {
		s += ".0" // so that a float never reads as an integer
	}
	return s
}

const base64Prefix = "base64:"

// appendText prints a scalar as a number if that gives back its very bytes, and
// anything else as base64 text of its bytes.
func (l *Literal) appendText(b []byte) []byte {
	if s, ok := l.scalarText(); ok {
		return append(b, s...)
	}
	b = append(append(b, '"'), base64Prefix...)
	b = base64.StdEncoding.AppendEncode(b, l.Data)
	return append(b, '"')
}

func (l *Literal) scalarText() (string, bool) {
	v, ok := l.Scalar()
	if math.IsNaN(v) {
		v = math.NaN() // what "nan" reads as, whatever the payload
	}
	switch {
	case !ok:
		return "", false
	case l.DType == Int64:
		return strconv.FormatInt(int64(binary.LittleEndian.Uint64(l.Data)), 10), true
	case l.DType == Uint64:
		u := binary.LittleEndian.Uint64(l.Data)
		return strconv.FormatUint(u, 10), u <= math.MaxInt64
	case !bytes.Equal(AppendElem(nil, l.DType, v), l.Data): // NaN with a payload, a bool of 2
		return "", false
	case l.DType == Bool:
		return strconv.FormatBool(v != 0), true
	case l.DType == Float64:
		return floatText(v, 64), true
	case l.DType.IsFloat():
		return floatText(v, 32), true
	}
	return strconv.FormatInt(int64(v), 10), true
}
