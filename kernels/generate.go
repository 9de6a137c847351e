package kernels

import (
	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph/syntax"
)

// Generated is a source that was made of a spec's reference graph, with what the spec
// would say of it.
type Generated struct {
	Source      string     // as NAME.metal
	Grid, Group [3]string  // as under launch
	Dims        []CheckDim // as under check, for what the spec has nothing there
	Attrs       []CheckAttr
}

// Generate gives a source to each kernel that has none, made of what its reference
// computes (author.Generate). Where make has none to give, the kernel runs as its
// reference, and NoSource says why.
func (c *Catalog) Generate(make func(*Spec) (*Generated, error)) diag.List {
	var issues diag.List
	for _, s := range c.All() {
		if s.Code != nil {
			continue
		}
		g, err := make(s)
		if err != nil {
			s.NoSource = err.Error()
			continue
		}
		if err := s.generated(g); err != nil {
			issues.AddErr(err, "kernel/generated", diag.Pos{File: s.Source})
		}
	}
	return issues
}

func (s *Spec) generated(g *Generated) error {
	l := &Launch{}
	for _, part := range []struct {
		from [3]string
		to   *[3]syntax.Expr
	}{{g.Grid, &l.Grid}, {g.Group, &l.Group}} {
		for i, text := range part.from {
			e, err := syntax.Parse(text)
			if err == nil {
				err = checkInt(e, s.isInt)
			}
			if err != nil {
				return err
			}
			part.to[i] = e
		}
	}
	s.Launch = l
	if s.Trials == nil {
		s.Trials = &Trials{}
	}
	for _, d := range g.Dims {
		if s.checkDim(d.Name) == nil {
			s.Trials.Dims = append(s.Trials.Dims, d)
		}
	}
	for _, a := range s.Attrs {
		if len(s.AttrValues(a)) > 0 {
			continue
		}
		for _, v := range g.Attrs {
			if v.Name == a.Name {
				s.Trials.Attrs = append(s.Trials.Attrs, v)
			}
		}
	}
	s.Generated = true
	return s.setSource(s.Source, g.Source).Err()
}
