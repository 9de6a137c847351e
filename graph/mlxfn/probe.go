package mlxfn

// Proof says for which primitives an MLX that is not in the table keeps the newest
// layouts of the table.
type Proof struct {
	Version    string
	Primitives map[string]bool
}

func (p *Proof) layout() *layout {
	l := &layout{version: p.Version, metadata: newest().metadata, rows: map[string]*Primitive{}}
	for name, row := range newest().rows {
		if p.Primitives[name] {
			l.rows[name] = row
		}
	}
	return l
}
