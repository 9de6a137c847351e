package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Model is a line of the table of reference configurations: what the rules of its
// profile do to one call of it. Its JSON form is a contract, as Plan's is.
type Model struct {
	Version      int         `json:"version" jsonschema:"of this form: 1"`
	Model        string      `json:"model" jsonschema:"name of the reference configuration"`
	Architecture string      `json:"architecture" jsonschema:"Hugging Face model_type"`
	Profile      string      `json:"profile" jsonschema:"empty if none is for it"`
	Target       string      `json:"target,omitempty" jsonschema:"that the plan is for"`
	Case         string      `json:"case,omitempty" jsonschema:"of the program"`
	Launches     *Launches   `json:"launches,omitempty" jsonschema:"of one call; absent if the model cannot be built"`
	Stated       *Launches   `json:"expected_launches,omitempty" jsonschema:"that the profile states"`
	Rules        []ModelRule `json:"rules" jsonschema:"in the order of the profile"`
	Note         string      `json:"note,omitempty" jsonschema:"what keeps it from being planned, or what the profile does not state"`
}

// ModelRule is how often a rule matches, and how often the profile says it does; nil
// if it says nothing.
type ModelRule struct {
	Name     string `json:"name" jsonschema:"full name"`
	Matches  int    `json:"matches" jsonschema:"places where it was applied"`
	Expected *int   `json:"expected" jsonschema:"that the profile states; null if it states none"`
}

// NewModel sums up a plan.
func NewModel(architecture string, p *Plan) *Model {
	m := &Model{Version: 1, Model: p.Model, Architecture: architecture, Profile: p.Profile, Target: p.Target, Case: p.Case,
		Launches: &p.Launches, Stated: p.Stated, Rules: []ModelRule{}, Note: "the profile states nothing of it on " + p.Target}
	for _, r := range p.Rules {
		m.Rules = append(m.Rules, ModelRule{r.Name, r.Matches, r.Expected})
		if r.Expected != nil {
			m.Note = ""
		}
	}
	return m
}

// NewUnplanned is the line of a model that no profile is for; launches are those of
// the call as it is.
func NewUnplanned(architecture, model string, launches int) *Model {
	m := NewUnbuilt(architecture, model, "no profile is for this architecture")
	m.Launches = &Launches{launches, launches}
	return m
}

// NewUnbuilt is the line of a model that cannot be built, and why.
func NewUnbuilt(architecture, model, why string) *Model {
	return &Model{Version: 1, Model: model, Architecture: architecture, Rules: []ModelRule{}, Note: why}
}

// JSON writes the model as one line.
func (m *Model) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(m)
}

// counts are the rules that match, and those that should or should not.
func (m *Model) counts() string {
	var list []string
	for _, r := range m.Rules {
		switch {
		case r.Expected != nil && *r.Expected != r.Matches:
			list = append(list, fmt.Sprintf("%s %d (%d expected)", r.Name, r.Matches, *r.Expected))
		case r.Matches > 0:
			list = append(list, fmt.Sprintf("%s %d", r.Name, r.Matches))
		}
	}
	return strings.Join(list, ", ")
}

// Models writes the table for people.
func Models(w io.Writer, all []*Model) {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	rows := [][4]string{{"model", "architecture", "profile", "launches"}}
	for _, m := range all {
		row := [4]string{m.Model, m.Architecture, dash(m.Profile), m.Note}
		if m.Launches != nil {
			row[3] = m.Launches.String()
			if m.Stated != nil && *m.Stated != *m.Launches {
				row[3] += " (" + m.Stated.String() + " expected)"
			}
		}
		rows = append(rows, row)
	}
	var width [3]int
	for _, row := range rows {
		for i := range width {
			width[i] = max(width[i], len(row[i]))
		}
	}
	for i, row := range rows {
		fmt.Fprintf(w, "%-*s  %-*s  %-*s  %s\n", width[0], row[0], width[1], row[1], width[2], row[2], row[3])
		if i == 0 {
			continue
		}
		if counts := all[i-1].counts(); counts != "" {
			fmt.Fprintf(w, "    %s\n", counts)
		}
		if m := all[i-1]; m.Note != "" && m.Launches != nil {
			fmt.Fprintf(w, "    %s\n", m.Note)
		}
	}
}
