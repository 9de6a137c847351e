package weights

import (
	"errors"
	"io"
	"iter"
	"slices"

	"zmlx-rewrite/diag"
)

// Store is the set of tensors of one model, in the order they were added. It is
// not safe for use by several goroutines while it is being changed; its tensors
// are.
type Store struct {
	order   []*Tensor
	byName  map[string]*Tensor
	views   map[string]View
	closers []io.Closer
}

// View says that a tensor is part of another: elements of Owner's row-major
// array, from Offset on, with the given strides. All are counted in elements, as
// in mlx.core.as_strided.
type View struct {
	Owner   string
	Offset  int
	Shape   []int
	Strides []int
}

// NewStore returns an empty store that will close closers.
func NewStore(closers ...io.Closer) *Store {
	return &Store{byName: map[string]*Tensor{}, views: map[string]View{}, closers: closers}
}

// Add adds a tensor. Two tensors of one name are an error.
func (s *Store) Add(t *Tensor) error {
	if s.byName[t.Name] != nil {
		return diag.Errorf("weights/duplicate", diag.Pos{}, "two tensors are named %q", t.Name)
	}
	s.byName[t.Name] = t
	s.order = append(s.order, t)
	return nil
}

// Get returns the tensor of a name, or nil.
func (s *Store) Get(name string) *Tensor { return s.byName[name] }

// Len returns the number of tensors.
func (s *Store) Len() int { return len(s.order) }

// All yields the tensors in the order they were added.
func (s *Store) All() iter.Seq[*Tensor] { return slices.Values(s.order) }

// NumBytes returns the sum of the sizes of the tensors that are no views.
func (s *Store) NumBytes() int64 {
	var n int64
	for _, t := range s.order {
		if _, ok := s.views[t.Name]; !ok {
			n += int64(t.NumBytes())
		}
	}
	return n
}

// ViewOf returns the place of the named tensor in its owner, if it has one. An
// owner is never itself a view.
func (s *Store) ViewOf(name string) (View, bool) {
	v, ok := s.views[name]
	return v, ok
}

// Own adds a derived tensor and makes it the owner of the store's tensors that
// it was derived from, so that the model needs their memory once. It returns the
// names of those that became views. A tensor that the new one holds only in part
// or not as a strided view keeps its own bytes, and so does one that is a view or
// an owner already: the first owner wins.
func (s *Store) Own(t *Tensor) ([]string, error) {
	if err := s.Add(t); err != nil {
		return nil, err
	}
	owners := map[string]bool{}
	for _, v := range s.views {
		owners[v.Owner] = true
	}
	var names []string
	var walk func(u *Tensor, offset int, strides []int)
	walk = func(u *Tensor, offset int, strides []int) {
		if u != t && s.byName[u.Name] == u {
			if _, taken := s.views[u.Name]; !taken && !owners[u.Name] {
				s.views[u.Name] = View{Owner: t.Name, Offset: offset, Shape: slices.Clone(u.Shape), Strides: slices.Clone(strides)}
				names = append(names, u.Name)
			}
			return
		}
		switch o := u.made; o.kind {
		case joined:
			for _, p := range o.parts {
				walk(p, offset, strides)
				offset += p.Shape[o.axis] * strides[o.axis]
			}
		case permuted:
			st := make([]int, len(strides))
			for i, a := range o.axes {
				st[a] = strides[i]
			}
			walk(o.parts[0], offset, st)
		case reshaped:
			if st, ok := viewStrides(u.Shape, strides, o.parts[0].Shape); ok {
				walk(o.parts[0], offset, st)
			}
		}
	}
	walk(t, 0, rowMajor(t.Shape))
	return names, nil
}

// viewStrides returns the strides that let an array of the given shape and
// strides be seen in another shape without a copy, and false if none do. Axes
// that lie one inside the other without a gap form a run; a run can be cut anew,
// but nothing crosses from one run to the next.
func viewStrides(shape, strides, want []int) ([]int, bool) {
	if len(shape) == 0 || slices.Contains(shape, 0) {
		return rowMajor(want), true
	}
	out := make([]int, len(want))
	w := len(want) - 1
	step, have, made := strides[len(shape)-1], 1, 1 // of the run being built
	for d := len(shape) - 1; d >= 0; d-- {
		have *= shape[d]
		if d > 0 && (shape[d-1] == 1 || strides[d-1] == have*step) {
			continue
		}
		for ; w >= 0 && (made < have || want[w] == 1); w-- {
			out[w] = made * step
			made *= want[w]
		}
		if made != have {
			return nil, false
		}
		if d > 0 {
			step, have, made = strides[d-1], 1, 1
		}
	}
	return out, w < 0
}

// Close closes the files that the store was made with.
func (s *Store) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	s.closers = nil
	return errors.Join(errs...)
}
