package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
)

// kernelsHostCmd writes what scripts/build-kernels.sh compiles; it is of no use to people.
func (a *app) kernelsHostCmd(o *options) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "host --out FOLDER", Short: "Write the kernels' sources as C++ for the CPU", Args: cobra.NoArgs, Hidden: true,
		RunE: func(*cobra.Command, []string) error { return a.kernelsHost(o, out) },
	}
	c.Flags().StringVar(&out, "out", "", "`folder` to write NAME.cpp to; others are removed from it")
	return c
}

func (a *app) kernelsHost(o *options, dir string) error {
	if dir == "" {
		return diag.Errorf("usage/kernels", diag.Pos{}, "host needs --out").WithHint("name a folder: --out FOLDER")
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	keep := map[string]bool{}
	var hashes strings.Builder // by which the engine knows that a library is of its own kernels
	for _, s := range w.set.Kernels.All() {
		fmt.Fprintf(&hashes, "%s %s\n", s.Name, s.ContentHash)
		if s.Code == nil {
			continue
		}
		text, err := s.HostUnit(s.Instances(), false)
		if err != nil {
			return err
		}
		name := s.Name + ".cpp"
		keep[name] = true
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && string(old) == text {
			continue // its time stays
		}
		if err := renameio.WriteFile(path, []byte(text), 0o666); err != nil {
			return err
		}
	}
	if err := renameio.WriteFile(filepath.Join(dir, "hashes"), []byte(hashes.String()), 0o666); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".cpp") && !keep[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
