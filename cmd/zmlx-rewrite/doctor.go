package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/engine/mlx"
)

func (a *app) doctorCmd() *cobra.Command {
	var o options
	var format, device string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is installed: engine, device, versions, and whether known numbers come out right",
		Long: "Doctor opens MLX, multiplies a known tensor with a known 4-bit matrix and compares the result with\n" +
			"integer arithmetic. It fails with exit code 3, and says how to get it, if something is missing.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.doctor(&o, format, device) },
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	c.Flags().StringVar(&device, "device", "", "cpu or gpu; MLX's choice if left out")
	c.Flags().StringVar(&o.home, "home", "", "`folder` to take rules/, profiles/ and kernels/ from, in place of the working folder")
	return c
}

// health is the JSON form of doctor; fields may be added, these stay.
type health struct {
	Version  string            `json:"version" jsonschema:"of zmlx-rewrite"`
	Go       string            `json:"go" jsonschema:"version of Go that built it"`
	Platform string            `json:"platform" jsonschema:"operating system and architecture"`
	Engine   string            `json:"engine" jsonschema:"mlx or ref"`
	MLX      string            `json:"mlx,omitempty" jsonschema:"version of MLX"`
	Device   string            `json:"device,omitempty" jsonschema:"with its number, as MLX names it"`
	Details  map[string]string `json:"details,omitempty" jsonschema:"what MLX tells of the device"`
	Checksum string            `json:"checksum,omitempty" jsonschema:"of the known numbers"`
	Replay   string            `json:"replay,omitempty" jsonschema:"whether steps can be replayed"`
	Rules    int               `json:"rules" jsonschema:"so many"`
	Kernels  int               `json:"kernels" jsonschema:"so many"`
	Profiles int               `json:"profiles" jsonschema:"so many"`
	Missing  []string          `json:"missing" jsonschema:"what is, and how to get it"`
}

func (a *app) doctor(o *options, format, device string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	h := health{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Engine: strings.Fields(engineName)[0],
		Rules: len(w.set.Rules()), Kernels: len(w.set.Kernels.All()), Profiles: len(w.profiles), Missing: []string{}}
	if info, err := mlx.Probe(device); err != nil {
		h.Missing = append(h.Missing, fmt.Sprintf("MLX: %v", err))
	} else {
		h.MLX, h.Device, h.Details = info.Version, info.Device, info.Details
		h.Replay = replays()
		if h.Checksum, err = mlx.SelfTest(device); err != nil {
			h.Missing = append(h.Missing, fmt.Sprintf("known numbers: %v", err))
		}
	}
	if format == "json" {
		if err := json.NewEncoder(a.stdout).Encode(h); err != nil {
			return err
		}
	} else {
		a.printHealth(&h, w)
	}
	if len(h.Missing) > 0 {
		return lacks("")
	}
	return nil
}

func (a *app) printHealth(h *health, w *workspace) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("version", "zmlx-rewrite %s, %s %s", h.Version, h.Go, h.Platform)
	line("engine", "%s", h.Engine)
	if h.Device != "" {
		line("mlx", "%s on %s", h.MLX, h.Device)
		for _, k := range slices.Sorted(maps.Keys(h.Details)) {
			line("", "%s: %s", k, h.Details[k])
		}
	}
	if h.Checksum != "" {
		line("numbers", "right, checksum %s", h.Checksum)
	}
	if h.Replay != "" {
		line("replay", "%s", h.Replay)
	}
	line("rules", "%d rules, %d kernels, %d profiles", h.Rules, h.Kernels, h.Profiles)
	for _, n := range w.notes {
		line("", "%s", n)
	}
	for _, m := range h.Missing {
		line("missing", "%s", m)
	}
}
