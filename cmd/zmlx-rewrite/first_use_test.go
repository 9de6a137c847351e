package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"zmlx-rewrite/measure/ledger"
)

// TestFirstUseTakesCapsules: what a capsule says of rules on a device of this name is not
// timed again, it is checked, kept with its origin, and planned with.
func TestFirstUseTakesCapsules(t *testing.T) {
	model := firstFile("ZMLX_TRAINED", "testdata/trained")
	if model == "" || engineName != "mlx" {
		t.Skip("needs MLX and testdata/trained")
	}
	if runtime.GOOS == "darwin" {
		t.Setenv("HOME", t.TempDir())
	}
	var progress bytes.Buffer
	look := func() *smartFound {
		t.Helper()
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		progress.Reset()
		var out bytes.Buffer
		a := &app{args: []string{"smart", "--first-use"}, stdout: &out, progress: &progress, log: slog.New(slog.DiscardHandler)}
		o := &options{preset: "inference", target: engineTarget(), model: model + "/qwen3_moe"}
		s := &smartOptions{gen: 16, depth: 16, rounds: 5, seed: 1, limit: 30 * time.Second, firstUse: true, format: "json"}
		if err := a.smart(context.Background(), o, s); err != nil {
			if strings.Contains(err.Error(), "smart/kernels") {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		var f smartFound
		if err := json.Unmarshal(out.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
		return &f
	}
	first := look()
	before, err := ledger.Read(ledgerFile())
	if err != nil {
		t.Fatal(err)
	}
	data, err := before.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// As if it had been measured with another version of MLX.
	text := strings.ReplaceAll(string(data), `"version": "`+first.Device.Version+`"`, `"version": "0.1"`)
	if text == string(data) || !strings.Contains(text, `"verdict": "`) {
		t.Fatalf("nothing was timed: %s", data)
	}
	was := capsuleFiles
	defer func() { capsuleFiles = was }()
	capsuleFiles = fstest.MapFS{"capsules/such-a-device/ledger.json": {Data: []byte(text)}}
	second := look()
	timed := 0
	for i, r := range first.Rules {
		if r.Gain == nil {
			continue
		}
		timed++
		for _, x := range second.Rules {
			if x.Rule == r.Rule && (x.Gain == nil || *x.Gain != *r.Gain || x.State != r.State) {
				t.Errorf("%s: %s %v, the capsule says %s %v", r.Rule, x.State, x.Gain, r.State, first.Rules[i].Gain)
			}
		}
	}
	if timed == 0 || !strings.Contains(progress.String(), "of these known before") {
		t.Errorf("%d rules were timed; then: %s", timed, &progress)
	}
	a := &app{stdout: io.Discard, progress: io.Discard, log: slog.New(slog.DiscardHandler)}
	_, _, all, err := a.rewriteAll(&options{preset: "inference", target: engineTarget(), model: model + "/qwen3_moe"})
	if err != nil {
		t.Fatal(err)
	}
	defer all[0].close()
	from := 0
	for _, r := range all[0].plans[0].Rules {
		if r.Gain != nil && r.Capsule == "such-a-device" {
			from++
		}
	}
	if from != timed {
		t.Errorf("%d rules are planned as the capsule says, of %d that it knows", from, timed)
	}
}
