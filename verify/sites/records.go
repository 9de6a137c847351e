package sites

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/rules"
)

// Device is where a check ran: what its outcome holds for.
type Device = ledger.Device

// Record is the outcome of a check that is kept. It holds for the device, and for rules
// and kernels as they were.
type Record struct {
	Device      Device            `json:"on"`
	Rule        string            `json:"rule"`
	RuleHash    string            `json:"rule_hash"`
	Kernels     map[string]string `json:"kernels,omitempty"` // name -> content hash
	Replacement string            `json:"replacement"`
	Verdict     Verdict           `json:"verdict"`
	Reason      string            `json:"reason,omitempty"`
	Calls       int               `json:"calls"`
	Rows        []int64           `json:"rows"`
	Runs        int               `json:"runs"`
	Reruns      int               `json:"reruns"`
	Error       float64           `json:"error,omitempty"`
	StockError  float64           `json:"stock_error,omitempty"`
	LeftOut     []string          `json:"left_out,omitempty"`
}

// NewRecord makes the record of a report.
func NewRecord(d Device, r *Report, c *kernels.Catalog) *Record {
	got, stock := r.Errors()
	return &Record{Device: d, Rule: r.Rule.Name, RuleHash: r.Rule.Hash, Kernels: ledger.Kernels(r.Rule, c), Replacement: r.Key,
		Verdict: r.Verdict, Reason: r.Reason, Calls: r.Calls, Rows: r.Rows, Runs: r.Runs, Reruns: r.Reruns,
		Error: got.RMS(), StockError: stock.RMS(), LeftOut: r.LeftOut}
}

// current reports whether the record is of the rule and its kernels as they are now.
func (r *Record) current(rule *rules.Rule, c *kernels.Catalog) bool {
	return r.Rule == rule.Name && r.RuleHash == rule.Hash && maps.Equal(r.Kernels, ledger.Kernels(rule, c))
}

// Records are outcomes by device, rule and replacement.
type Records map[string]*Record

func (r *Record) key() string {
	return strings.Join([]string{r.Device.Key(), r.Rule, r.Replacement}, "\n")
}

type recordsFile struct {
	Version int       `json:"zmlx"`
	Checks  []*Record `json:"checks"`
}

// ReadRecords reads a file of records. One that is not there has none.
func ReadRecords(path string) (Records, error) {
	list := Records{}
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return list, nil
	}
	if err != nil {
		return nil, diag.Errorf("file/read", diag.Pos{File: path}, "%v", err)
	}
	var f recordsFile
	if err := json.Unmarshal(data, &f); err != nil || f.Version != diag.FormatVersion {
		return nil, diag.Errorf("verify/records", diag.Pos{File: path}, "is not a file of device checks of this version").
			WithHint("remove it: zmlx-rewrite verify --device makes it again")
	}
	for _, r := range f.Checks {
		if r != nil {
			list[r.key()] = r
		}
	}
	return list, nil
}

// Keep adds records to a file, in the place of older ones, and writes it, whole or not at all.
// What others have written there meanwhile stays.
func Keep(path string, list []*Record) error {
	return ledger.Locked(path, func() error {
		all, err := ReadRecords(path)
		if err != nil {
			return err
		}
		for _, r := range list {
			all.Put(r)
		}
		if err := all.write(path); err != nil {
			return diag.Errorf("file/write", diag.Pos{File: path}, "%v", err)
		}
		return nil
	})
}

func (l Records) write(path string) error {
	f := recordsFile{Version: diag.FormatVersion, Checks: []*Record{}}
	for _, k := range slices.Sorted(maps.Keys(l)) {
		f.Checks = append(f.Checks, l[k])
	}
	data, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(data, '\n'), 0o666)
}

// Put adds a record in the place of an older one.
func (l Records) Put(r *Record) { l[r.key()] = r }

// Get returns the record of a replacement on a device, if rule and kernels are what they
// were; else nil.
func (l Records) Get(d Device, x *Replacement, c *kernels.Catalog) *Record {
	r := l[(&Record{Device: d, Rule: x.Rule.Name, Replacement: x.Key}).key()]
	if r == nil || !r.current(x.Rule, c) {
		return nil
	}
	return r
}

// AnyFailed reports whether anything failed on a device of that kind: if not, nobody has
// to find out which device this is.
func (l Records) AnyFailed(device string) bool {
	for _, r := range l {
		if r.Device.Device == device && r.Verdict == Failed {
			return true
		}
	}
	return false
}
