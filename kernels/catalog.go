package kernels

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

//go:embed *.yaml *.metal
var embedded embed.FS

// builtin is where the embedded kernels say that they come from.
const builtin = "builtin/kernels"

// Catalog is a set of kernels by name.
type Catalog struct {
	specs map[string]*Spec
	byOp  map[*graph.Op]*Spec
}

// Load reads the embedded kernels and then those in the given folders, which are
// used only because somebody named them. A kernel there takes the place of an
// embedded one of the same name.
func Load(dirs ...string) (*Catalog, diag.List) {
	c := &Catalog{map[string]*Spec{}, map[*graph.Op]*Spec{}}
	issues := c.read(embedded, builtin)
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			issues.Add(diag.Errorf("kernel/dir", diag.Pos{File: dir}, "is not a folder").WithHint("--kernels names a folder of kernels: NAME.yaml, and NAME.metal beside it"))
			continue
		}
		issues = append(issues, c.read(os.DirFS(dir), dir)...)
	}
	for _, s := range c.specs {
		c.byOp[s.op] = s
	}
	return c, issues
}

func (c *Catalog) read(fsys fs.FS, prefix string) diag.List {
	var issues diag.List
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return diag.List{diag.Errorf("kernel/dir", diag.Pos{File: prefix}, "%v", err)}
	}
	for _, name := range names {
		file := path.Join(prefix, name)
		data, err := readText(fsys, name)
		if err != nil {
			issues.Add(diag.Errorf("kernel/read", diag.Pos{File: file}, "%v", err))
			continue
		}
		s, list := Parse(file, data)
		issues = append(issues, list...)
		if s == nil {
			continue
		}
		if want := strings.TrimSuffix(name, ".yaml"); s.Name != want {
			issues.Add(diag.Errorf("kernel/name", diag.Pos{File: file}, "kernel %s must be in a file of its own name", s.Name))
		}
		issues.Add(s.attach(fsys, prefix)...)
		c.specs[s.Name] = s
	}
	return issues
}

// readText reads a file, and of one that is too big to be a spec only so much that
// Parse refuses it.
func readText(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, diag.MaxYAMLBytes+1))
}

// Spec returns a kernel by name, or nil.
func (c *Catalog) Spec(name string) *Spec { return c.specs[name] }

// SpecOf returns the kernel that an op calls, or nil.
func (c *Catalog) SpecOf(op *graph.Op) *Spec { return c.byOp[op] }

// With returns the catalogue that knows calls of another one's kernels as well (SpecOf): for
// programs of both. By name there are only its own.
func (c *Catalog) With(other *Catalog) *Catalog {
	byOp := maps.Clone(c.byOp)
	maps.Copy(byOp, other.byOp)
	return &Catalog{c.specs, byOp}
}

// Op returns the op "kernel.NAME", or nil. It is the resolver that parsing and
// building of graphs take.
func (c *Catalog) Op(name string) *graph.Op {
	if s := c.specs[strings.TrimPrefix(name, graph.KernelPrefix)]; s != nil && strings.HasPrefix(name, graph.KernelPrefix) {
		return s.op
	}
	return nil
}

// All returns the kernels in order of name.
func (c *Catalog) All() []*Spec {
	var all []*Spec
	for _, s := range c.specs {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Spec) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Expand replaces kernel calls of a program by their reference graphs: all but those
// of kernels that keep, which may be nil, asks for. It is how a program with kernels
// runs on an engine that has none of them, or only some.
func (c *Catalog) Expand(p *graph.Program, keep func(*Spec) bool) (*graph.Program, error) {
	out := &graph.Program{Name: p.Name, Window: p.Window, Params: p.Params}
	for _, cs := range p.Cases {
		g := cs.Graph.Clone()
		for id := range graph.NodeID(cs.Graph.NumNodes()) {
			n := cs.Graph.Node(id)
			if !n.Op.IsKernel() {
				continue
			}
			s := c.SpecOf(n.Op)
			if s == nil {
				return nil, fmt.Errorf("%s: %s is not in the catalogue", n.Scope, n.Op.Name)
			}
			if keep != nil && keep(s) {
				continue
			}
			vs, err := s.Expand(g, n.Scope, n.In, n.Attrs)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", n.Scope, err)
			}
			for i, v := range vs {
				if err := g.Replace(n.Out[i], v); err != nil {
					return nil, fmt.Errorf("%s: %s: %w", n.Scope, n.Op.Name, err)
				}
			}
		}
		if err := g.Compact(); err != nil {
			return nil, err
		}
		out.Cases = append(out.Cases, graph.Case{Name: cs.Name, When: cs.When, Graph: g})
	}
	return out, nil
}
