package convert

import (
	"encoding/json"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph/mlxfn"
)

// captureFormat is the form of metadata that python/zmlx_capture.py writes and
// readCapture reads.
const captureFormat = 1

// captureInfo is what a captured file says of itself. It is the zero value for a file
// that something else wrote.
type captureInfo struct {
	Format  int      `json:"zmlx_capture"`
	Inputs  []string `json:"inputs"` // names of the positional inputs
	Outputs []string `json:"outputs"`
	// Window is the number of rows that layers with a sliding window see, 0 if none has
	// one; Rings are the inputs that are their caches.
	Window int      `json:"window"`
	Rings  []string `json:"rings"`
	Config struct {
		ModelType string `json:"model_type"`
	} `json:"config"`
}

// readCapture reads a file's metadata. Metadata that is not ours says nothing.
func readCapture(name string, f *mlxfn.File) (*captureInfo, error) {
	var head struct {
		Format int `json:"zmlx_capture"`
	}
	if json.Unmarshal([]byte(f.Metadata), &head) != nil || head.Format == 0 {
		return &captureInfo{}, nil
	}
	if head.Format != captureFormat {
		return nil, diag.Errorf("mlxfn/capture", diag.Pos{File: name}, "the capture is in form %d, this program reads form %d", head.Format, captureFormat).
			WithHint("capture the model with the zmlx_capture.py that came with this program")
	}
	own := &captureInfo{}
	if err := json.Unmarshal([]byte(f.Metadata), own); err != nil {
		return nil, diag.Errorf("mlxfn/capture", diag.Pos{File: name}, "the metadata of the capture: %v", err).WithHint("capture the model again")
	}
	if own.Window < 0 || own.Window > 1<<30 || own.Config.ModelType != "" && !writable(own.Config.ModelType) {
		return nil, diag.Errorf("mlxfn/capture", diag.Pos{File: name}, "the metadata of the capture says a window of %d rows and model_type %q", own.Window, own.Config.ModelType).
			WithHint("capture the model again")
	}
	return own, nil
}

// names returns the names of a trace's inputs and outputs: those that the capture
// says, or guesses.
func (own *captureInfo) names(im *importer) (roleNames, error) {
	if own.Format == 0 {
		return inputNames(im.fn), nil
	}
	n := roleNames{own.Inputs, own.Outputs}
	if len(n.inputs) != im.fn.Positional() || len(n.outputs) != len(im.fn.Outputs) {
		return n, im.errorf("capture", "the metadata names %d inputs and %d outputs, but the trace has %d and %d",
			len(n.inputs), len(n.outputs), im.fn.Positional(), len(im.fn.Outputs)).WithHint("capture the model again")
	}
	for what, list := range map[string][]string{"input": n.inputs, "output": n.outputs} {
		seen := map[string]bool{}
		for _, name := range list {
			if !writable(name) || seen[name] || what == "input" && slices.Contains(im.fn.Kwargs, name) {
				return n, im.errorf("capture", "the metadata names an %s %q, which cannot be written or is the name of another one", what, name).WithHint("capture the model again")
			}
			seen[name] = true
		}
	}
	return n, nil
}
