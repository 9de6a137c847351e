// Package mlxlm asks mlx-lm, in a Python of its own, what it makes of the same tokens: the
// oracle for programs that this project built itself. It installs nothing, downloads nothing,
// and judges nothing.
package mlxlm

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
)

//go:embed oracle.py
var script string

// Oracle is a Python with mlx-lm that has loaded a model. Close it.
type Oracle struct {
	Python  string
	Version string // of mlx-lm
	MLX     string
	Device  string // cpu or gpu

	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Reader
	stderr  *tail
	dir     string
}

// Missing says that no Python has mlx-lm.
type Missing struct{ Tried []string }

func (m *Missing) Error() string {
	return "mlx-lm is not installed: " + strings.Join(m.Tried, "; ")
}

// Start loads a model of a folder in the first of some Pythons that has mlx-lm. dtype, if not
// empty, is what floating-point parameters are converted to.
func Start(ctx context.Context, pythons []string, model, dtype string) (*Oracle, error) {
	if info, err := os.Stat(model); err != nil || !info.IsDir() {
		return nil, diag.Errorf("oracle/model", diag.Pos{File: model}, "is not a folder, and mlx-lm loads nothing else").
			WithHint("give a folder with config.json and safetensors, as mlx-lm and Hugging Face have them")
	}
	missing := &Missing{}
	for _, python := range pythons {
		path, err := exec.LookPath(python)
		if err != nil {
			missing.Tried = append(missing.Tried, err.Error())
			continue
		}
		o, err := start(ctx, path, model, dtype)
		if err != nil {
			return nil, err
		}
		if o.Version != "" {
			return o, nil
		}
		missing.Tried = append(missing.Tried, fmt.Sprintf("%s: %s", python, o.MLX))
		o.Close()
	}
	return nil, missing
}

func start(ctx context.Context, python, model, dtype string) (*Oracle, error) {
	dir, err := os.MkdirTemp("", "zmlx-oracle-")
	if err != nil {
		return nil, err
	}
	o := &Oracle{Python: python, dir: dir, stderr: &tail{}}
	o.cmd = exec.CommandContext(ctx, python, "-c", script)
	o.cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1", "PYTHONDONTWRITEBYTECODE=1")
	o.cmd.Stderr = o.stderr
	o.cmd.WaitDelay = 5 * time.Second
	if o.in, err = o.cmd.StdinPipe(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	out, err := o.cmd.StdoutPipe()
	if err == nil {
		err = o.cmd.Start()
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	o.answers = bufio.NewReader(out)
	var hello struct {
		Missing string `json:"missing"`
		Version string `json:"mlx_lm"`
		MLX     string `json:"mlx"`
		Device  string `json:"device"`
	}
	err = o.ask(map[string]string{"model": model, "dtype": dtype}, &hello)
	if err != nil {
		o.Close()
		return nil, err
	}
	o.Version, o.MLX, o.Device = hello.Version, hello.MLX, hello.Device
	if hello.Missing != "" {
		o.MLX = hello.Missing
	}
	return o, nil
}

// ask sends a line and reads the answer.
func (o *Oracle) ask(request, into any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	// Should the process have ended, what it said last is the reason, not the broken pipe.
	o.in.Write(append(line, '\n'))
	data, err := o.answers.ReadBytes('\n')
	if err != nil {
		// Its answers may end before it has said why: that is whole once it was waited for, if
		// only for a while, should it go on with nobody to answer.
		o.in.Close()
		kill := time.AfterFunc(o.cmd.WaitDelay, func() { o.cmd.Process.Kill() })
		o.cmd.Wait()
		kill.Stop()
		return diag.Errorf("oracle/ended", diag.Pos{File: o.Python}, "mlx-lm's process ended: %s", o.stderr.String())
	}
	var failed struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(data, &failed); err != nil {
		return diag.Errorf("oracle/answer", diag.Pos{File: o.Python}, "mlx-lm's process said %q: %v", data, err)
	}
	if failed.Error != "" {
		return diag.Errorf("oracle/failed", diag.Pos{File: o.Python}, "mlx-lm: %s", failed.Error)
	}
	return json.Unmarshal(data, into)
}

// Request is one prompt.
type Request struct {
	Prompt      []int `json:"prompt"`
	MaxTokens   int   `json:"max_tokens"`
	PrefillStep int   `json:"prefill_step"`
	EOS         []int `json:"eos"`
	// KV are generate_step's arguments for a quantized cache: kv_bits, kv_group_size and
	// quantized_kv_start; none for a plain one.
	KV     map[string]int `json:"kv"`
	Logits string         `json:"logits"` // set by Generate
}

// Result is what mlx-lm made of a prompt.
type Result struct {
	Steps         []decode.Step
	PromptSeconds float64 // to the first token
	Seconds       float64 // from the first to the last
}

// TPS is tokens a second behind the first; 0 for fewer than two.
func (r *Result) TPS() float64 {
	if len(r.Steps) < 2 {
		return 0
	}
	return float64(len(r.Steps)-1) / r.Seconds
}

// Generate has mlx-lm go on from a prompt, greedily, an end token included.
func (o *Oracle) Generate(r Request) (*Result, error) {
	r.Logits = filepath.Join(o.dir, "logits")
	if r.PrefillStep <= 0 {
		r.PrefillStep = decode.PrefillStep
	}
	if r.EOS == nil {
		r.EOS = []int{}
	}
	if r.KV == nil {
		r.KV = map[string]int{}
	}
	var got struct {
		Tokens        []int   `json:"tokens"`
		Vocab         int     `json:"vocab"`
		PromptSeconds float64 `json:"prompt_seconds"`
		Seconds       float64 `json:"seconds"`
	}
	if err := o.ask(r, &got); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(r.Logits)
	if err != nil {
		return nil, err
	}
	if got.Vocab < 1 || len(data) != 4*got.Vocab*len(got.Tokens) {
		return nil, diag.Errorf("oracle/answer", diag.Pos{File: o.Python}, "mlx-lm's process wrote %d bytes of logits for %d tokens of a vocabulary of %d", len(data), len(got.Tokens), got.Vocab)
	}
	out := &Result{PromptSeconds: got.PromptSeconds, Seconds: got.Seconds}
	for _, id := range got.Tokens {
		row := make([]float32, got.Vocab)
		for i := range row {
			row[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		data = data[4*got.Vocab:]
		out.Steps = append(out.Steps, decode.Step{ID: id, Logits: row})
	}
	return out, nil
}

// Close ends the process.
func (o *Oracle) Close() error {
	o.in.Close()
	o.cmd.Wait() // it ends where its input does; how, is of no interest any more
	return os.RemoveAll(o.dir)
}

// tail keeps the end of what a process says.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-4096):]
	return len(p), nil
}

func (t *tail) String() string {
	lines := bytes.Split(bytes.TrimSpace(t.data), []byte("\n"))
	return string(lines[len(lines)-1])
}
