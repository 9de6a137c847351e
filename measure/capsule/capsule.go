// Package capsule is the record of a measurement that can be sent around: what was
// measured, on what, with which rules, kernels and weights, every raw time in order, and
// enough to find out later whether it still holds. It is JSON with a schema
// (docs/capsule.schema.json).
//
// It holds no name of a host or a user but what stands in the command line. Statistics are made
// of the raw times by whoever reads it (package bench); only what stress sums up over many
// combinations is kept as well, and can be held against the times.
package capsule

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/google/renameio/v2"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/outfile"
	"zmlx-rewrite/measure/schema"
)

// Version of the format. Fields may be added without a new one.
const Version = 1

// Kinds of capsules.
const (
	Bench  = "bench"
	Stress = "stress"
)

// Capsule is one measurement: the unrewritten program (A), or another rewrite in its place,
// and the rewritten one (B), in turns.
type Capsule struct {
	Version     int               `json:"zmlx" jsonschema:"version of the format: 1"`
	Kind        string            `json:"kind" jsonschema:"bench or stress: which command made it"`
	Made        time.Time         `json:"made" jsonschema:"when the measurement began"`
	Finished    time.Time         `json:"finished" jsonschema:"when it ended"`
	Command     []string          `json:"command" jsonschema:"the command line, without the program's own name"`
	Environment map[string]string `json:"environment" jsonschema:"variables that begin with MLX_ or ZMLX_"`
	Program     Program           `json:"program"`
	Machine     Machine           `json:"machine"`
	Device      Device            `json:"device"`
	Model       Model             `json:"model"`
	Rewrite     Rewrite           `json:"rewrite"`
	Against     *Against          `json:"against,omitempty" jsonschema:"what ran as A in place of the unrewritten program, if something did"`
	WarmUp      int               `json:"warm_up" jsonschema:"rounds, or for stress runs of each side, that came first and do not count"`
	Cells       []Cell            `json:"cells" jsonschema:"one for each combination that was measured"`
	Means       []Mean            `json:"means,omitempty" jsonschema:"of stress: by length, by kind of prompt, and of all combinations; computed from the raw times"`
	Interrupted bool              `json:"interrupted,omitempty" jsonschema:"ctrl-C ended it early: what is here was measured in whole rounds, and runs or whole tests are missing; a note says which"`
	Notes       []string          `json:"notes" jsonschema:"what a reader should know, such as that the machine was busy"`
}

// Program is the binary that measured.
type Program struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty" jsonschema:"commit that it was built from"`
	Modified bool   `json:"modified,omitempty" jsonschema:"the checkout had changes that were not committed"`
	Go       string `json:"go"`
}

// Machine is where it ran.
type Machine struct {
	OS           string   `json:"os"`
	Arch         string   `json:"arch"`
	Version      string   `json:"os_version,omitempty" jsonschema:"name and version of the operating system, as it is sold or shipped"`
	Kernel       string   `json:"kernel,omitempty" jsonschema:"version of the operating system's kernel"`
	CPU          string   `json:"cpu,omitempty"`
	Cores        int      `json:"cores"`
	Memory       int64    `json:"memory,omitempty" jsonschema:"bytes"`
	LoadBefore   []number `json:"load_before,omitempty" jsonschema:"load averages over 1, 5 and 15 minutes"`
	LoadAfter    []number `json:"load_after,omitempty"`
	Temperatures []number `json:"temperatures,omitempty" jsonschema:"of the machine's thermal zones at the end, in degrees Celsius"`
	Thermal      []string `json:"thermal,omitempty" jsonschema:"what macOS says at the end of limits that heat sets (pmset -g therm), a line each"`
}

type number = float64

// Device is the engine and what it computed on.
type Device struct {
	Engine  string            `json:"engine" jsonschema:"mlx or ref"`
	Version string            `json:"version" jsonschema:"of MLX"`
	MLXC    string            `json:"mlx_c,omitempty" jsonschema:"version of mlx-c that the binary is written for"`
	Device  string            `json:"device" jsonschema:"cpu, cuda or metal"`
	Name    string            `json:"name,omitempty" jsonschema:"what the device calls itself"`
	Driver  string            `json:"driver,omitempty"`
	Library string            `json:"kernel_library,omitempty" jsonschema:"sha256 of the library of CPU kernels; absent where the engine compiles kernels itself, or launches none"`
	Details map[string]string `json:"details,omitempty" jsonschema:"what MLX tells of the device"`
}

// Model says which weights were measured.
type Model struct {
	Name   string `json:"name" jsonschema:"as it was named on the command line"`
	Type   string `json:"type" jsonschema:"Hugging Face model_type"`
	Quant  string `json:"quant,omitempty" jsonschema:"of most of its bytes: 4-bit, float16"`
	SHA256 string `json:"sha256"`
	Of     string `json:"sha256_of" jsonschema:"what the sum is of: whole files; in capsules of earlier versions, of models above 2 GiB, sizes, and the first and last MiB, of each file"`
	Bytes  int64  `json:"bytes" jsonschema:"of its weights"`
	Params int64  `json:"params" jsonschema:"its weights are so many numbers"`
	DType  string `json:"dtype,omitempty" jsonschema:"that the floating-point parameters were converted to"`
}

// Rewrite says how the program was rewritten.
type Rewrite struct {
	Profile  string            `json:"profile"`
	Preset   string            `json:"preset"`
	Choice   *Choice           `json:"choice,omitempty" jsonschema:"which rules the command line asked for; absent in capsules of versions that did not keep it"`
	Target   string            `json:"target"`
	KV       *KV               `json:"kv_cache,omitempty" jsonschema:"how keys and values were kept, if not plainly"`
	Before   string            `json:"before" jsonschema:"hash of the program as loaded"`
	After    string            `json:"after" jsonschema:"hash of the rewritten program"`
	Rules    map[string]string `json:"rules" jsonschema:"name and hash of each rule that took part"`
	Kernels  map[string]string `json:"kernels" jsonschema:"name and hash of each kernel in what ran rewritten: the program, the one with a quantized cache, and what makes the next token of logits"`
	RunsAs   string            `json:"kernels_ran" jsonschema:"where the kernels ran: the device, reference, or none"`
	Journal  string            `json:"journal_sha256"`
	Packed   string            `json:"journal_gzip" jsonschema:"the journal, gzipped, in base64"`
	Launches []Layer           `json:"launches" jsonschema:"of one decode step, by part of the model"`
	// Absent in capsules of versions that did not keep them.
	Replacements []Replacement `json:"replacements,omitempty" jsonschema:"what the rules did in the case that a decode step runs, each kind once"`
	// Absent if no cache was quantized, and in capsules of versions that did not keep it.
	Quantized *Quantized `json:"quantized,omitempty" jsonschema:"the programs that took over with a quantized cache; before, after, journal, launches and replacements beside it are of those with plain caches"`
}

// Against is a rewrite that another is compared with, on the same weights.
type Against struct {
	Flags   string  `json:"flags" jsonschema:"that made it: what they do not name is as on the command line"`
	Rewrite Rewrite `json:"rewrite"`
}

// Choice is which of a profile's rules the command line asked for. Names are full and in order.
type Choice struct {
	Only     []string `json:"only,omitempty" jsonschema:"no others"`
	Exclude  []string `json:"exclude,omitempty" jsonschema:"all but these"`
	Force    []string `json:"force,omitempty" jsonschema:"though the profile has them off"`
	NoLedger bool     `json:"no_ledger,omitempty" jsonschema:"whatever was measured on the device"`
}

// Quantized says of the programs with a quantized cache what Rewrite says of the others.
type Quantized struct {
	Before       string        `json:"before" jsonschema:"hash of the unrewritten program"`
	After        string        `json:"after" jsonschema:"hash of the rewritten program"`
	Journal      string        `json:"journal_sha256"`
	Packed       string        `json:"journal_gzip" jsonschema:"the journal, gzipped, in base64"`
	Launches     []Layer       `json:"launches" jsonschema:"of one decode step, by part of the model"`
	Replacements []Replacement `json:"replacements,omitempty" jsonschema:"what the rules did in the case that a decode step runs, each kind once"`
}

// KV are mlx-lm's settings of a cache.
type KV struct {
	Bits      int `json:"bits,omitempty" jsonschema:"quantized to so many; 0 if not"`
	GroupSize int `json:"group_size,omitempty"`
	Start     int `json:"start,omitempty" jsonschema:"tokens from which on it is quantized"`
	Size      int `json:"max_size,omitempty" jsonschema:"rows that are kept; 0 for all"`
}

// Layer is what one part of the model launches in a decode step.
type Layer struct {
	Scope  string `json:"scope" jsonschema:"model.layers.3.mlp; empty for the rest"`
	Before int    `json:"before"`
	After  int    `json:"after"`

	Replaced []int `json:"replaced,omitempty" jsonschema:"the replacements there, in order, by their place in the list, counted from 0"`
}

// Cell is one combination that was measured.
type Cell struct {
	Test    string `json:"test" jsonschema:"pp512, tg128, or the prompt's kind and the length"`
	Prompt  string `json:"prompt,omitempty" jsonschema:"kind of the prompt; empty for random tokens"`
	Seed    uint64 `json:"seed,omitempty" jsonschema:"of random tokens"`
	Batch   int    `json:"batch_size,omitempty" jsonschema:"sequences side by side, each with tokens of its own; absent: one. Tokens of a cell are then those of the first step, one of each sequence, then those of the second, and so on"`
	Depth   int    `json:"depth" jsonschema:"tokens in the caches before what is timed"`
	Rows    bool   `json:"random_rows,omitempty" jsonschema:"the caches were filled to the depth with random rows, and not with what the model makes of random tokens"`
	Fed     int    `json:"fed" jsonschema:"tokens that are fed at once, after the depth"`
	Made    int    `json:"made" jsonschema:"tokens that are made after them"`
	Counted int    `json:"counted" jsonschema:"tokens that the seconds of a run are for, of all sequences"`
	Runs    []Run  `json:"runs" jsonschema:"in the order in which they ran"`
	// Tokens of the first run of each side.
	StreamA string `json:"tokens_sha256_a,omitempty" jsonschema:"of the unrewritten program's token stream, as little-endian int32"`
	StreamB string `json:"tokens_sha256_b,omitempty"`
	First   int    `json:"first_difference" jsonschema:"first token that differs between the sides; -1 if none does"`
	// Of the first run of each side, which bench does not count if it warms up. Absent if the
	// engine does not tell, and in capsules of versions that did not keep them.
	PeakA int64 `json:"peak_memory_a,omitempty" jsonschema:"bytes of arrays that the unrewritten program, or what is in its place, takes at most if it is loaded alone"`
	PeakB int64 `json:"peak_memory_b,omitempty"`
	// Of stress; absent of generations that are too short, and in capsules of versions that did
	// not keep them.
	DriftA float64 `json:"drift_a,omitempty" jsonschema:"how fast the last quarter of the unrewritten program's tokens was, as a share of how fast the first was; the median over its runs"`
	DriftB float64 `json:"drift_b,omitempty"`
	// With stress --routing.
	Routing []Routing `json:"routing,omitempty" jsonschema:"which experts the unrewritten program's tokens, with their prompt, were sent to, by layer"`
}

// Routing is what one mixture of experts did with the tokens of a cell.
type Routing struct {
	Layer   string  `json:"layer"`
	K       int     `json:"k" jsonschema:"experts of one token"`
	Tokens  int     `json:"tokens"`
	Counts  []int   `json:"counts" jsonschema:"how often each expert was chosen"`
	Weights float64 `json:"weight_entropy" jsonschema:"bits, of a token's weights, mean"`
	Other   int     `json:"other" jsonschema:"tokens that the rewritten program sent to other experts"`
}

// Run is one timed run.
type Run struct {
	bench.Run
	Prompt float64 `json:"prompt_seconds,omitempty" jsonschema:"time to the first token"`
	Tokens string  `json:"tokens,omitempty" jsonschema:"first 16 digits of the token stream's hash"`
	// Of generations that are long enough; each quarter has as many tokens as the other.
	Early float64 `json:"first_quarter_seconds,omitempty" jsonschema:"of the tokens behind the first one"`
	Late  float64 `json:"last_quarter_seconds,omitempty"`
}

// Drift is how fast the last quarter of a side's generations was, as a share of how fast the
// first was: the median over its runs; 0 if it was not measured.
func (c *Cell) Drift(b bool) float64 {
	var list []float64
	for _, r := range c.Runs {
		if r.B == b && r.Early > 0 && r.Late > 0 {
			list = append(list, r.Early/r.Late)
		}
	}
	if len(list) == 0 {
		return 0
	}
	return bench.Median(list)
}

// Bench returns the runs as package bench takes them.
func (c *Cell) Bench() []bench.Run {
	out := make([]bench.Run, len(c.Runs))
	for i, r := range c.Runs {
		out[i] = r.Run
	}
	return out
}

// Rate is tokens a second of a run that took so long.
func (c *Cell) Rate(seconds float64) float64 { return float64(c.Counted) / seconds }

// Summary compares the sides in tokens a second.
func (c *Cell) Summary() bench.Summary { return bench.Summarise(c.Bench(), c.Rate) }

// Identical reports whether both sides made the same tokens, in every run.
func (c *Cell) Identical() bool {
	if c.First >= 0 || c.StreamA != c.StreamB {
		return false
	}
	for _, r := range c.Runs {
		if r.Tokens != c.Runs[0].Tokens {
			return false
		}
	}
	return true
}

// Name is the test with its depth, as llama-bench writes it, and what there is more than one of:
// "tg128 @ d512", "tg128 x4".
func (c *Cell) Name() string {
	name := c.Test
	if c.Batch > 1 {
		name += fmt.Sprintf(" x%d", c.Batch)
	}
	if c.Depth == 0 || c.Prompt != "" {
		return name
	}
	return fmt.Sprintf("%s @ d%d", name, c.Depth)
}

// Stream is the hash of a token stream.
func Stream(tokens []int) string {
	data := make([]byte, 0, 4*len(tokens))
	for _, t := range tokens {
		data = binary.LittleEndian.AppendUint32(data, uint32(t))
	}
	return sum(data)
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// Pack keeps a journal.
func (r *Rewrite) Pack(journal []byte) { r.Journal, r.Packed = pack(journal) }

// Pack keeps a journal.
func (q *Quantized) Pack(journal []byte) { q.Journal, q.Packed = pack(journal) }

func pack(journal []byte) (hash, packed string) {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w.Write(journal) // into memory: neither can fail
	w.Close()
	return sum(journal), base64.StdEncoding.EncodeToString(b.Bytes())
}

// maxJournal bounds what a packed journal may become.
const maxJournal = 64 << 20

// Unpack returns the journal, checked against its hash.
func (r *Rewrite) Unpack() ([]byte, error) { return unpack(r.Journal, r.Packed) }

// Unpack returns the journal, checked against its hash.
func (q *Quantized) Unpack() ([]byte, error) { return unpack(q.Journal, q.Packed) }

func unpack(hash, text string) ([]byte, error) {
	bad := func(format string, args ...any) ([]byte, error) {
		return nil, diag.Errorf("capsule/journal", diag.Pos{}, format, args...)
	}
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return bad("the journal is not base64: %v", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return bad("the journal is not gzip: %v", err)
	}
	data, err := io.ReadAll(io.LimitReader(z, maxJournal+1))
	switch {
	case err != nil:
		return bad("the journal is not gzip: %v", err)
	case len(data) > maxJournal:
		return bad("the journal is larger than %d MiB", maxJournal>>20)
	case sum(data) != hash:
		return bad("the journal's sha256 is %s, the capsule says %s", sum(data), hash)
	}
	return data, nil
}

// Bytes returns the capsule as JSON.
func (c *Capsule) Bytes() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	err := enc.Encode(c)
	return b.Bytes(), err
}

// Write writes the capsule to a file, whole or not at all. It is checked first: what
// cannot be read again is not written.
func (c *Capsule) Write(file string) error {
	data, err := c.Bytes()
	if err != nil {
		return err
	}
	if _, err := Parse(file, data); err != nil {
		return fmt.Errorf("the capsule is broken, a bug in this program: %w", err)
	}
	target, err := outfile.Target(file)
	if err == nil {
		err = renameio.WriteFile(target, data, 0o644)
	}
	if err != nil {
		return diag.Errorf("file/write", diag.Pos{File: file}, "%v", err).WithHint("the measurement is lost if it is not written: name a file in a folder that can be written to")
	}
	return nil
}

// maxFile bounds a capsule's file.
const maxFile = 64 << 20

// maxTokens bounds the tokens of a cell: report --verify makes them again.
const maxTokens = 1 << 20

// MaxBatch bounds the sequences of a cell.
const MaxBatch = 1024

// Read reads a capsule.
func Read(file string) (*Capsule, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, diag.Errorf("file/open", diag.Pos{File: file}, "%v", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, diag.Errorf("file/read", diag.Pos{File: file}, "is a folder").WithHint("name capsules in it; zmlx-rewrite matrix reads folders")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, diag.Errorf("file/read", diag.Pos{File: file}, "%v", err)
	}
	if len(data) > maxFile {
		return nil, diag.Errorf("file/too-big", diag.Pos{File: file}, "is larger than %d MiB", maxFile>>20)
	}
	return Parse(file, data)
}

// Parse reads a capsule and holds it against the schema and against what a schema cannot
// say.
func Parse(file string, data []byte) (*Capsule, error) {
	pos := diag.Pos{File: file}
	bad := func(format string, args ...any) (*Capsule, error) {
		return nil, diag.Errorf("capsule/invalid", pos, format, args...)
	}
	var raw any
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, diag.Errorf("capsule/syntax", pos, "not a capsule: %v", err).WithHint("bench --capsule FILE and stress --json-out FILE write one")
	}
	head, _ := raw.(map[string]any)
	if v, ok := head["zmlx"].(float64); !ok || head["cells"] == nil {
		return nil, diag.Errorf("capsule/syntax", pos, "not a capsule").WithHint("bench --capsule FILE and stress --json-out FILE write one")
	} else if v != Version {
		return nil, diag.Errorf("capsule/version", pos, "capsule of version %v; this program reads version %d", v, Version)
	}
	if err := resolved.Validate(raw); err != nil {
		return bad("%v", err)
	}
	var c Capsule
	if err := json.Unmarshal(data, &c); err != nil {
		return bad("%v", err)
	}
	if err := c.Rewrite.check(); err != nil {
		return bad("%v", err)
	}
	if c.Against != nil {
		if err := c.Against.Rewrite.check(); err != nil {
			return bad("against: %v", err)
		}
	}
	for i := range c.Cells {
		cell := &c.Cells[i]
		if cell.Counted < 1 {
			return bad("cell %s counts %d tokens", cell.Test, cell.Counted)
		}
		n := max(cell.Batch, 1)
		if cell.Batch < 0 || cell.Batch > MaxBatch || cell.Batch != c.Cells[0].Batch {
			return bad("cell %s has %d sequences side by side, the first cell %d", cell.Test, cell.Batch, c.Cells[0].Batch)
		}
		if cell.Depth < 0 || cell.Depth > maxTokens/n || cell.Fed < 0 || cell.Fed > maxTokens/n || cell.Made < 1 || cell.Made > maxTokens/n {
			return bad("cell %s: %d tokens before, %d fed, %d made", cell.Test, cell.Depth, cell.Fed, cell.Made)
		}
		for _, r := range cell.Routing {
			if len(r.Counts) < 1 || slices.Min(r.Counts) < 0 || r.K < 1 || r.Tokens < 1 || r.Other < 0 || math.IsInf(r.Weights, 0) {
				return bad("cell %s: routing of %s: %d of %d experts for %d tokens", cell.Test, r.Layer, r.K, len(r.Counts), r.Tokens)
			}
		}
		for k, r := range cell.Runs {
			if !(r.Seconds > 0) || math.IsInf(r.Seconds, 0) || r.Round < 0 || r.Round > len(cell.Runs) || r.Early < 0 || r.Late < 0 {
				return bad("run %d of cell %s: round %d, %v seconds", k, cell.Test, r.Round, r.Seconds)
			}
		}
	}
	return &c, nil
}

// Schema is the JSON Schema of capsules.
func Schema() []byte { return schema.Text(newSchema()) }

func newSchema() *jsonschema.Schema {
	s := schema.For[Capsule]("capsule of zmlx-rewrite: a measurement with all that is needed to judge and repeat it")
	s.Properties["kind"].Enum = []any{Bench, Stress}
	return s
}

var resolved = schema.Resolve(newSchema())
