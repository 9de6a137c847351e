package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/models"
)

// maxText bounds graph text files.
const maxText = 64 << 20

// load reads a model by what its name says it is. Builders and the import of
// .mlxfn files give programs in normal form, which is what rules are written against.
func (a *app) load(path string, w *workspace) (*subject, error) { return a.loadAs(path, "", "", w) }

// loadAs is load with a model's floating-point parameters converted to a type; "" for
// their own; and with the adapter of a folder, if one is named.
func (a *app) loadAs(path, dtype, adapter string, w *workspace) (*subject, error) {
	as, err := dtypes(dtype)
	if err != nil {
		return nil, err
	}
	s := &subject{name: path}
	start := time.Now()
	defer func() { a.log.Debug("loaded", "model", path, "took", time.Since(start)) }()
	switch strings.ToLower(filepath.Ext(path)) {
	case ".zg":
		data, err := readLimited(path, maxText)
		if err != nil {
			return nil, err
		}
		p, issues := graph.ParseText(path, data, w.set.Kernels.Op)
		if err := issues.Err(); err != nil {
			return nil, err
		}
		// Rules are written against the normal form; text that we wrote is in it.
		for _, c := range p.Cases {
			if _, err := normal.Form(c.Graph); err != nil {
				return nil, diag.Errorf("zg/normal", diag.Pos{File: path}, "case %s: %v", c.Name, err)
			}
		}
		s.program = p
	case ".mlxfn":
		p, notes, err := importFile(path, nil)
		if err != nil {
			return nil, err
		}
		a.importNotes(path, notes)
		s.program = p
	default:
		// The name of a reference configuration will do where no such file is.
		if _, err := os.Stat(path); err != nil && models.ReferenceType(path) != "" {
			if s.program, err = reference(path); err != nil {
				return nil, err
			}
			break
		}
		m, err := models.LoadWith(path, adapter, as...)
		if err != nil {
			return nil, err
		}
		s.model, s.program = m, m.Program
	}
	if adapter != "" && s.model == nil {
		return nil, diag.Errorf("adapter/open", diag.Pos{File: path}, "has no weights, so an adapter has nothing to change").WithHint("give the folder of the model")
	}
	return s, nil
}

// dtypes reads --dtype: one type, or none.
func dtypes(name string) ([]graph.DType, error) {
	if name == "" {
		return nil, nil
	}
	as, ok := graph.ParseDType(name)
	if !ok || as != graph.Float32 && as != graph.Float16 && as != graph.BFloat16 {
		return nil, oneOf("dtype", name, "float32", "float16", "bfloat16")
	}
	return []graph.DType{as}, nil
}

// readLimited reads a file of at most n bytes.
func readLimited(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, diag.Errorf("file/open", diag.Pos{File: path}, "%v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, n+1))
	if err != nil {
		return nil, diag.Errorf("file/read", diag.Pos{File: path}, "%v", err)
	}
	if int64(len(data)) > n {
		return nil, diag.Errorf("file/too-big", diag.Pos{File: path}, "is larger than %d MiB", n>>20).WithHint("no file of that kind is so large: is it another one?")
	}
	return data, nil
}
