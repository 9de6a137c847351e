// Package ledger keeps what was found by measurement on a device: for each rule of a
// profile, whether it pays in a program, and the interval of its gain. An entry holds for the
// device, the engine's version, the program and the profile, and for the rule and its
// kernels as they were: of another one it says nothing.
//
// It measures nothing, and does not say what becomes of a rule. What a device and a kernel
// are to a record is said here for other packages that keep some, too.
package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/lockfile"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/ledger/choose"
	"zmlx-rewrite/measure/schema"
	"zmlx-rewrite/rules"
)

// Device is where something was found: what it holds for.
type Device struct {
	Engine  string `json:"engine" jsonschema:"mlx"`
	Device  string `json:"device" jsonschema:"metal, cuda or cpu"`
	Name    string `json:"name,omitempty" jsonschema:"of the device, as MLX gives it"`
	Version string `json:"version" jsonschema:"of the engine"`
	Library string `json:"kernel_library,omitempty" jsonschema:"sha256 of the library of CPU kernels; absent where the engine compiles kernels itself, or launches none"`
}

func (d Device) String() string {
	text := fmt.Sprintf("%s on %s %s", d.Engine, d.Device, d.Version)
	if d.Name != "" {
		text += " (" + d.Name + ")"
	}
	return text
}

// Key tells devices apart. Unlike what people read it has the library: the same sources,
// compiled in another way, may be slower, or wrong.
func (d Device) Key() string { return d.String() + "\n" + d.Library }

// Kernels returns the content hashes of a rule's kernels by name.
func Kernels(r *rules.Rule, c *kernels.Catalog) map[string]string {
	var m map[string]string
	for _, k := range r.Kernels {
		if s := c.Spec(k); s != nil {
			if m == nil {
				m = map[string]string{}
			}
			m[k] = s.ContentHash
		}
	}
	return m
}

// Place is where a rule was timed.
type Place struct {
	Device  Device `json:"on"`
	Model   string `json:"model_type" jsonschema:"of the config.json"`
	Program string `json:"program" jsonschema:"hash of the unrewritten program: its ops and the types of its weights"`
	Profile string `json:"profile"`
}

// Entry is what was found of one rule at a place.
type Entry struct {
	Place
	Rule     string            `json:"rule"`
	RuleHash string            `json:"rule_hash"`
	Kernels  map[string]string `json:"kernels,omitempty" jsonschema:"name and content hash"`
	Verdict  choose.Verdict    `json:"verdict" jsonschema:"faster, slower, or even: the interval holds 1, or the gain was not there in the end"`
	FirstUse bool              `json:"first_use,omitempty" jsonschema:"measured in short when the model was first run, not by smart"`
	Gain     choose.Gain       `json:"gain" jsonschema:"beside the rules of with"`
	Alone    *choose.Gain      `json:"alone,omitempty" jsonschema:"against no rules at all"`
	Capsule  string            `json:"capsule,omitempty" jsonschema:"folder of benchmarks/capsules that it was taken from: measured on another device of that name"`
	With     []string          `json:"with" jsonschema:"the rules that were on beside it"`
	Depth    int               `json:"depth" jsonschema:"tokens in the caches before the first run"`
	Tokens   int               `json:"tokens" jsonschema:"made in each run at most, one a step; fewer where steps are slow"`
	When     time.Time         `json:"when"`
	Command  []string          `json:"command" jsonschema:"the command line, without the program's own name"`
}

func (e *Entry) key() string { return e.Place.key() + "\n" + e.Rule }

// FirstUse says that the rules of a place were looked at when a model was first run there.
// What was found of them are entries, and the outcomes of checks.
type FirstUse struct {
	Place
	Seconds float64   `json:"seconds"`
	Left    []string  `json:"left,omitempty" jsonschema:"rules that there was no time to measure"`
	Problem string    `json:"problem,omitempty" jsonschema:"what ended it early"`
	When    time.Time `json:"when"`
	Command []string  `json:"command" jsonschema:"the command line, without the program's own name"`
}

func (p Place) key() string {
	return strings.Join([]string{p.Device.Key(), p.Program, p.Profile}, "\n")
}

// Ledger is entries by place and rule, and the places where rules were looked at.
type Ledger struct {
	gains map[string]*Entry
	uses  map[string]*FirstUse
}

// New returns a ledger without entries.
func New() Ledger { return Ledger{gains: map[string]*Entry{}, uses: map[string]*FirstUse{}} }

// file is a ledger as it is written.
type file struct {
	Version int         `json:"zmlx" jsonschema:"version of the format: 1"`
	Gains   []*Entry    `json:"gains"`
	Uses    []*FirstUse `json:"first_uses,omitempty" jsonschema:"places whose rules are not looked at again by themselves"`
}

// maxFile bounds a ledger's file.
const maxFile = 64 << 20

// Read reads a file. One that is not there is empty.
func Read(path string) (Ledger, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return New(), nil
	}
	if err != nil {
		return Ledger{}, diag.Errorf("file/read", diag.Pos{File: path}, "%v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Ledger{}, diag.Errorf("file/read", diag.Pos{File: path}, "%v", err)
	}
	if len(data) > maxFile {
		return Ledger{}, diag.Errorf("file/too-big", diag.Pos{File: path}, "is larger than %d MiB", maxFile>>20)
	}
	return Parse(path, data)
}

// Parse reads a ledger and holds it against the schema.
func Parse(path string, data []byte) (Ledger, error) {
	bad := func(why error) (Ledger, error) {
		return Ledger{}, diag.Errorf("ledger/invalid", diag.Pos{File: path}, "is not a ledger of this version: %v", why).
			WithHint("remove it: zmlx-rewrite smart makes it again")
	}
	var raw any
	if err := json.Unmarshal(data, &raw); err != nil {
		return bad(err)
	}
	if err := resolved.Validate(raw); err != nil {
		return bad(err)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return bad(err)
	}
	l := New()
	for _, e := range f.Gains {
		l.gains[e.key()] = e
	}
	for _, u := range f.Uses {
		l.uses[u.key()] = u
	}
	return l, nil
}

// Bytes is the text of a ledger, the same for the same entries.
func (l Ledger) Bytes() ([]byte, error) {
	f := file{Version: diag.FormatVersion, Gains: []*Entry{}}
	for _, k := range slices.Sorted(maps.Keys(l.gains)) {
		f.Gains = append(f.Gains, l.gains[k])
	}
	for _, k := range slices.Sorted(maps.Keys(l.uses)) {
		f.Uses = append(f.Uses, l.uses[k])
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	err := enc.Encode(f)
	return b.Bytes(), err
}

// Update reads a file, changes what it holds, and writes it, whole or not at all. Nobody else
// updates it meanwhile: what others have written stays.
func Update(path string, change func(Ledger)) error {
	return Locked(path, func() error {
		l, err := Read(path)
		if err != nil {
			return err
		}
		change(l)
		data, err := l.Bytes()
		if err != nil {
			return err
		}
		if err := renameio.WriteFile(path, data, 0o666); err != nil {
			return diag.Errorf("file/write", diag.Pos{File: path}, "%v", err)
		}
		return nil
	})
}

// patience is how long an update waits for others, which take some milliseconds each.
var patience = 30 * time.Second // tests have less

// Locked makes the folder of a file that is kept for the user, and does something with the file
// while no other process does. It is for reading, changing and writing it.
func Locked(path string, do func() error) error {
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err != nil {
		return diag.Errorf("file/write", diag.Pos{File: path}, "%v", err)
	}
	lock, err := lockfile.Wait(path, fmt.Sprintf("zmlx-rewrite, process %d", os.Getpid()), patience)
	if held := (*lockfile.Held)(nil); errors.As(err, &held) {
		return diag.Errorf("ledger/busy", diag.Pos{File: path}, "%v", held).WithHint("wait for it to end, or end it if it hangs")
	}
	if err != nil {
		return diag.Errorf("file/write", diag.Pos{File: path}, "%v", err)
	}
	defer lock.Release()
	return do()
}

// Put adds an entry in the place of an older one.
func (l Ledger) Put(e *Entry) { l.gains[e.key()] = e }

// Drop removes what is known of a rule at a place.
func (l Ledger) Drop(p Place, rule string) { delete(l.gains, (&Entry{Place: p, Rule: rule}).key()) }

// Use notes that the rules of a place were looked at.
func (l Ledger) Use(u *FirstUse) { l.uses[u.key()] = u }

// Used reports whether nobody has to look at the rules of a place: that was done there, or
// somebody has measured some of them.
func (l Ledger) Used(p Place) bool {
	if l.uses[p.key()] != nil {
		return true
	}
	for _, e := range l.gains {
		if e.Place.key() == p.key() && !e.FirstUse && e.Capsule == "" { // one of a first use that was interrupted is no end of it
			return true
		}
	}
	return false
}

// Get returns what is known of a rule at a place, if rule and kernels are what they were;
// else nil.
func (l Ledger) Get(p Place, r *rules.Rule, c *kernels.Catalog) *Entry {
	e := l.gains[(&Entry{Place: p, Rule: r.Name}).key()]
	if e == nil || e.RuleHash != r.Hash || !maps.Equal(e.Kernels, Kernels(r, c)) {
		return nil
	}
	return e
}

// Like returns what is known of a rule on a device of the same name, with whatever version of
// the engine, if program, profile, rule and kernels are the same; else nil.
func (l Ledger) Like(p Place, r *rules.Rule, c *kernels.Catalog) *Entry {
	for _, k := range slices.Sorted(maps.Keys(l.gains)) {
		there := p
		if there.Device.Version = l.gains[k].Device.Version; there == l.gains[k].Place && l.gains[k].Rule == r.Name {
			return l.Get(there, r, c)
		}
	}
	return nil
}

// Any reports whether anything is known of a program on a device of that kind, be it that its
// rules were looked at: if not, nobody has to find out which device this is.
func (l Ledger) Any(device, program, profile string) bool {
	for _, e := range l.gains {
		if e.Device.Device == device && e.Program == program && e.Profile == profile {
			return true
		}
	}
	for _, u := range l.uses {
		if u.Device.Device == device && u.Program == program && u.Profile == profile {
			return true
		}
	}
	return false
}

// Schema is the JSON Schema of ledgers.
func Schema() []byte { return schema.Text(newSchema()) }

func newSchema() *jsonschema.Schema {
	s := schema.For[file]("ledger of zmlx-rewrite smart: which rules pay, by device and program")
	s.Properties["zmlx"].Enum = []any{diag.FormatVersion}
	gain := s.Properties["gains"].Items
	use := s.Properties["first_uses"].Items
	objects := []*jsonschema.Schema{gain, use}
	for _, x := range []*jsonschema.Schema{gain, use} {
		for _, p := range x.Properties {
			if p.Properties != nil {
				objects = append(objects, p)
			}
		}
	}
	for _, o := range objects {
		o.Type, o.Types = "object", nil // never null
	}
	gain.Properties["verdict"].Enum = []any{string(choose.Faster), string(choose.Slower), string(choose.Even)}
	return s
}

var resolved = schema.Resolve(newSchema())
