// Upcycle writes SmolLM2 as a mixture of experts, for `make moe`:
//
//	go run ./scripts/upcycle GGUF FOLDER [LAYERS]
package main

import (
	"fmt"
	"os"
	"strconv"

	"zmlx-rewrite/models/upcycle"
)

func main() {
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: upcycle GGUF FOLDER [LAYERS]")
		os.Exit(2)
	}
	layers := 0
	var err error
	if len(os.Args) == 4 {
		layers, err = strconv.Atoi(os.Args[3])
	}
	if err == nil {
		err = upcycle.Ensure(os.Args[1], os.Args[2], layers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
