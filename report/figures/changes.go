package figures

import (
	"fmt"
	"strings"

	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/report"
)

// clicks is the script of a page with capsules: a layer's bar opens the layer, and a
// replacement in it opens its drawing there, or closes it again.
const clicks = `
const act = (e) => {
  const at = e.target.closest("[data-layer], [data-change]");
  if (!at) return;
  if (at.dataset.layer) {
    const layer = document.getElementById(at.dataset.layer);
    layer.open = true;
    layer.scrollIntoView({ block: "nearest" });
    return;
  }
  const next = at.nextElementSibling;
  const shown = next && next.classList.contains("pair");
  if (shown) next.remove();
  else at.after(document.getElementById(at.dataset.change).querySelector(".pair").cloneNode(true));
  at.setAttribute("aria-expanded", String(!shown));
};
addEventListener("click", act);
addEventListener("keydown", (e) => { if (e.key === "Enter" && e.target.dataset.layer) act(e); });
`

// style of drawings of graphs, and of what is clicked.
const style = `details { border-top: 1px solid var(--line); padding: .4rem 0 } summary, [data-layer] { cursor: pointer } [data-layer]:hover text { text-decoration: underline }
ol { margin: .4rem 0 } button { font: inherit; color: var(--b); background: none; border: 0; padding: .1rem 0; cursor: pointer; text-align: left }
.pair { display: flex; flex-wrap: wrap; gap: 2rem; align-items: flex-start; margin: .5rem 0 1rem } .pair > div { overflow-x: auto; max-width: 100% }
.pair svg text { text-anchor: middle; font: 12px ui-monospace, Menlo, Consolas, monospace } .pair svg text.faint { fill: var(--soft) }
.node, .leaf { fill: var(--paper); stroke: var(--soft) } .leaf { stroke-dasharray: 3 3 } .made { stroke: var(--b); stroke-width: 2 } .edge { fill: none; stroke: var(--soft) } #arrow path { fill: var(--soft) }
`

// steps draws the steps of a rewrite that ran.
func steps(b *strings.Builder, id, whose string, r *capsule.Rewrite, cells []capsule.Cell) {
	for k, s := range r.Ran(cells) {
		fmt.Fprintf(b, "<h3>Launches of a decode step%s%s, by layer</h3>\n", esc(whose), cacheText(r, &s))
		if k > 0 {
			id += "q"
		}
		launches(b, id, &s)
		changes(b, id, &s)
	}
}

// launches draws, for each part of the model, how many launches a step has there.
func launches(b *strings.Builder, id string, r *capsule.Steps) {
	list := r.Launches
	top := 1
	for _, l := range list {
		top = max(top, l.Before, l.After)
	}
	before, after := r.Sum()
	hint := ""
	if len(r.Replacements) > 0 {
		hint = " Click a layer to see what was replaced in it."
	}
	fmt.Fprintf(b, "<p>%d unrewritten (grey), %d rewritten (blue).%s</p>\n", before, after, hint)
	const left, width, step = 240, 560, 20
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="launches by layer">`+"\n", left+width+130, len(list)*step+4, left+width+130)
	for i, l := range list {
		y := i*step + 2
		opens := ""
		if len(l.Replaced) > 0 {
			opens = fmt.Sprintf(` data-layer="%s-layer%d" role="button" tabindex="0"`, id, i)
		}
		fmt.Fprintf(b, `<g class="row"%s><rect x="0" y="%d" width="%d" height="%d" fill="transparent"/><text x="%d" y="%d" text-anchor="end">%s</text>`, opens, y-2, left+width+130, step, left-8, y+12, esc(short(part(&l), 38)))
		for k, n := range []int{l.Before, l.After} {
			fmt.Fprintf(b, `<rect class="launches" x="%d" y="%d" width="%.1f" height="7" fill="%s"/>`, left, y+8*k, float64(n)/float64(top)*width, [2]string{"var(--a)", "var(--b)"}[k])
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%d → %d</text></g>`+"\n", left+float64(max(l.Before, l.After))/float64(top)*width+8, y+12, l.Before, l.After)
	}
	b.WriteString("</svg>\n")
}

func part(l *capsule.Layer) string {
	if l.Scope == "" {
		return "the rest"
	}
	return l.Scope
}

// changes shows what the rules did: layer by layer, and each kind of replacement as two
// drawings, which the file has once.
func changes(b *strings.Builder, id string, r *capsule.Steps) {
	if len(r.Replacements) == 0 {
		return
	}
	b.WriteString("<h3>What was replaced, by layer</h3>\n")
	sites := make([]int, len(r.Replacements))
	for i, l := range r.Launches {
		if len(l.Replaced) == 0 {
			continue
		}
		fmt.Fprintf(b, "<details class=layer id=\"%s-layer%d\"><summary>%s: %d → %d launches, %d replaced</summary><ol>\n", id, i, esc(part(&l)), l.Before, l.After, len(l.Replaced))
		for _, k := range l.Replaced {
			sites[k]++
			fmt.Fprintf(b, "<li><button data-change=\"%s-change%d\" aria-expanded=\"false\">%s</button></li>\n", id, k, esc(describe(&r.Replacements[k])))
		}
		b.WriteString("</ol></details>\n")
	}
	b.WriteString("<h3>Kinds of replacements</h3>\n" + report.Arrowhead + "\n")
	for k := range r.Replacements {
		one := &r.Replacements[k]
		fmt.Fprintf(b, "<details class=change id=\"%s-change%d\"><summary>%s, in %s</summary>\n<div class=pair><div><p>before</p>%s</div><div><p>after</p>%s</div></div></details>\n",
			id, k, esc(describe(one)), count(sites[k], "place"), report.Drawing(one.Before.Drawing(), one.Rule+", before"), report.Drawing(one.After.Drawing(), one.Rule+", after"))
	}
}

// describe names a replacement by its rule and what it puts there.
func describe(r *capsule.Replacement) string {
	ops := func(p *capsule.Picture) (names []string) {
		for _, x := range p.Boxes {
			if !x.Leaf {
				names = append(names, x.Lines[0])
			}
		}
		return names
	}
	round := ""
	if r.Round > 1 {
		round = fmt.Sprintf(" (round %d)", r.Round)
	}
	launches := count(r.Saved, "launch") + " fewer"
	if r.Saved < 0 {
		launches = count(-r.Saved, "launch") + " more"
	}
	return fmt.Sprintf("%s: %s → %s, %s%s", short(r.Rule, 100), count(len(ops(&r.Before)), "op"), short(strings.Join(ops(&r.After), ", "), 100), launches, round)
}

// count writes a number of things.
func count(n int, thing string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(thing, "h"):
		thing += "es"
	default:
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
