// Command mlxfn_probes prepares and checks the probes by which a version of MLX that
// graph/mlxfn does not know shows which state layouts it keeps:
//
//	go run ./scripts/oracle/mlxfn_probes write DIR [VERSION]
//	python scripts/oracle/mlxfn_probe.py DIR        # with the MLX in question
//	go run ./scripts/oracle/mlxfn_probes check DIR
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"zmlx-rewrite/graph/mlxfn"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 2 && args[0] == "write":
		return mlxfn.WriteProbes(args[1], append(args, "")[2])
	case len(args) == 2 && args[0] == "check":
		proof, err := mlxfn.CheckProbes(os.DirFS(args[1]))
		if err != nil {
			return err
		}
		fmt.Printf("MLX %s: %d primitives proven\n", proof.Version, len(proof.Primitives))
		for _, name := range slices.Sorted(maps.Keys(proof.Failed)) {
			fmt.Printf("not proven: %s: %v\n", name, proof.Failed[name])
		}
		if len(proof.Failed) > 0 {
			return fmt.Errorf("%d primitives are not proven", len(proof.Failed))
		}
		return nil
	}
	return fmt.Errorf("usage: mlxfn_probes write DIR [VERSION] | check DIR")
}
