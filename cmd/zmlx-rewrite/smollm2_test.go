package main

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"zmlx-rewrite/testdata/scripts"
)

// withoutModel are the commands that look at no model: there is nothing to run them on.
var withoutModel = map[string]bool{
	"rules list": true, "rules show": true, "rules schema": true, "profiles": true, "models": true, "lint": true,
	"kernels list": true, "kernels show": true, "kernels check": true, "kernels bench": true, "kernels try": true, "kernels new": true, "kernels host": true,
	"doctor": true, "test": true, "version": true,
}

// TestEveryCommandOnSmolLM2: some script runs each command that looks at a model, or at what was
// made of one, on the weights of SmolLM2, or in the same script as what made it of them.
func TestEveryCommandOnSmolLM2(t *testing.T) {
	onceEnough(t)
	ran := map[string]string{}
	err := fs.WalkDir(scripts.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(scripts.Files, path)
		text, _, _ := strings.Cut(string(data), "\n-- ")
		text, _, _ = strings.Cut(text, "[!soak] stop")
		whole := strings.Contains(text, "[!smollm2] skip") // all that such a script does is about it
		for line := range strings.Lines(text) {
			_, args, ok := strings.Cut(line, " zmlx-rewrite ")
			if !ok || strings.HasPrefix(line, "#") || !whole && !strings.Contains(line, "$SMOLLM2") {
				continue
			}
			if c, _, err := (&app{}).root().Find(scriptWords(args)); err == nil {
				_, name, _ := strings.Cut(c.CommandPath(), " ")
				ran[name] = path
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		_, name, _ := strings.Cut(c.CommandPath(), " ")
		switch {
		case name == "" || c.HasSubCommands() && (name == "rules" || name == "kernels"): // hold others
		case withoutModel[name]:
		case ran[name] == "":
			t.Errorf("no script runs %s on SmolLM2", name)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
}
