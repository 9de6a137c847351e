// Peers times the planning and applying of rules here against what other rewriters of
// graphs do on the same graph. scripts/peers/run.sh runs it and the peers:
//
//	go run ./scripts/peers FOLDER
//
// writes graph-48.json and graph-480.json, which the peers read, and ours.json, what
// this project does with them.
package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

//go:embed rules.yaml kernels/*.yaml
var files embed.FS

// Record is what one peer did with one graph. Python's peers write the same.
type Record struct {
	Peer    string    `json:"peer"`
	Rules   string    `json:"rules"` // "all", or "one root": all but the one with two roots
	Layers  int       `json:"layers"`
	Nodes   int       `json:"nodes"`
	CPU     []float64 `json:"cpu"`  // seconds of processor time, all threads, one a run
	Wall    []float64 `json:"wall"` // seconds
	Matched []string  `json:"matched"`
	Note    string    `json:"note,omitempty"`
}

var sizes = []int{48, 480}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: peers FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	cfg, err := config()
	if err != nil {
		return err
	}
	// As `apply` sets it.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var records []Record
	for _, layers := range sizes {
		g := build(layers)
		if err := write(filepath.Join(dir, fmt.Sprintf("graph-%d.json", layers)), g); err != nil {
			return err
		}
		for _, set := range []string{"all", "one root"} {
			some := *cfg
			some.Rules = slices.Clone(cfg.Rules)
			if set != "all" {
				some.Rules = slices.DeleteFunc(some.Rules, func(r *rules.Rule) bool { return r.Short() == "pair" })
			}
			r := Record{Peer: "zmlx-rewrite", Rules: set, Layers: layers, Nodes: len(g.Nodes), Note: runtime.Version()}
			for range 25 {
				p, err := g.program(cfg) // anew: nothing is known of it
				if err != nil {
					return err
				}
				runtime.GC()
				cpu, start := processorTime(), time.Now()
				res, err := rewrite.Run(p, &some)
				r.Wall = append(r.Wall, time.Since(start).Seconds())
				r.CPU = append(r.CPU, processorTime()-cpu)
				if err != nil {
					return err
				}
				r.Matched = matched(res)
			}
			records = append(records, r)
		}
	}
	return write(filepath.Join(dir, "ours.json"), records)
}

func write(file string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o666)
}

// processorTime is what all threads of this process took, in seconds.
func processorTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// config links the rules of this folder.
func config() (*rewrite.Config, error) {
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, files); err != nil {
		return nil, err
	}
	catalog, issues := kernels.Load(filepath.Join(dir, "kernels"))
	if issues.HasErrors() {
		return nil, issues.Err()
	}
	text, err := files.ReadFile("rules.yaml")
	if err != nil {
		return nil, err
	}
	f, issues := rules.Parse("scripts/peers/rules.yaml", text)
	if issues.HasErrors() {
		return nil, issues.Err()
	}
	set, issues := rules.Link([]*rules.File{f}, catalog)
	if issues.HasErrors() {
		return nil, issues.Err()
	}
	return &rewrite.Config{Set: set, Rules: set.Rules(), Setting: guard.Setting{Target: "cpu", TPSize: 1}}, nil
}

// program reads the graph as a model's program.
func (g *Graph) program(cfg *rewrite.Config) (*graph.Program, error) {
	p, issues := graph.ParseText("graph.zg", []byte(g.text()), cfg.Set.Kernels.Op)
	return p, issues.Err()
}

// matched lists what was fused in the rewritten graph itself: rule and parameter, sorted.
func matched(res *rewrite.Result) []string {
	var list []string
	g := res.Program.Cases[0].Graph
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		if rule, ok := strings.CutPrefix(n.Op.Name, "kernel.peer_"); ok {
			list = append(list, rule+" "+g.InputName(n.In[1]))
		}
	}
	slices.Sort(list)
	return list
}

// judge counts the sites that must match and those that must not, and says which of each
// came out otherwise.
func (g *Graph) judge(matched []string) (must, mustNot int, missed, wrong []string) {
	expected := map[string]bool{}
	for _, s := range g.Sites {
		key := s.Rule + " " + s.Param
		if s.Match {
			must++
			expected[key] = true
			if !slices.Contains(matched, key) {
				missed = append(missed, key)
			}
		} else {
			mustNot++
		}
	}
	for _, m := range matched {
		if !expected[m] {
			wrong = append(wrong, m)
		}
	}
	return must, mustNot, missed, wrong
}
