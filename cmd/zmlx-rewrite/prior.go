package main

import (
	"io/fs"
	"path"

	"zmlx-rewrite/benchmarks"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/rules"
)

// capsuleFiles are the capsules that the program carries; tests have some of their own.
var capsuleFiles fs.FS = benchmarks.Files

// prior is what the capsules that the program carries say of rules, by folder.
type prior []capsuleLedger

type capsuleLedger struct {
	name   string
	ledger ledger.Ledger
}

// readPrior reads the ledgers of capsules, the newest name first.
func readPrior(files fs.FS) (prior, error) {
	list, err := fs.Glob(files, "capsules/*/ledger.json")
	if err != nil {
		return nil, err
	}
	var p prior
	for i := len(list) - 1; i >= 0; i-- {
		data, err := fs.ReadFile(files, list[i])
		if err != nil {
			return nil, err
		}
		l, err := ledger.Parse(list[i], data)
		if err != nil {
			return nil, err
		}
		p = append(p, capsuleLedger{path.Base(path.Dir(list[i])), l})
	}
	return p, nil
}

// get returns what a capsule says of a rule of this program on a device of this name, as an
// entry for the place; nil if none says anything.
func (p prior) get(at ledger.Place, r *rules.Rule, c *kernels.Catalog) *ledger.Entry {
	for _, x := range p {
		if e := x.ledger.Like(at, r, c); e != nil {
			here := *e
			here.Place, here.Capsule = at, x.name
			return &here
		}
	}
	return nil
}
