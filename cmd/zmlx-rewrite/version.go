package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is the one place where the program's version is written.
const version = "0.1.0"

// built is what the program was made of, as JSON.
type built struct {
	Version  string `json:"version" jsonschema:"of zmlx-rewrite"`
	Revision string `json:"revision,omitempty" jsonschema:"commit that it was built from; absent if it does not know"`
	Modified bool   `json:"modified,omitempty" jsonschema:"whether the checkout had changes"`
	Engine   string `json:"engine" jsonschema:"that it was built with: mlx or ref"`
	Go       string `json:"go" jsonschema:"version of Go that built it"`
	Platform string `json:"platform" jsonschema:"operating system and architecture"`
}

func (a *app) versionCmd() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.printVersion(format) },
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return c
}

func (a *app) printVersion(format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	b := built{Version: version, Engine: strings.Fields(engineName)[0], Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if format == "json" {
		return a.json(b)
	}
	revision := ""
	if b.Revision != "" {
		revision = " " + b.Revision[:min(12, len(b.Revision))]
	}
	fmt.Fprintf(a.stdout, "zmlx-rewrite %s%s, engine %s, %s %s\n", b.Version, revision, engineName, b.Go, b.Platform)
	return nil
}
