package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The pre-tokenizers of most models are regular expressions with look-ahead, which
// package regexp refuses on purpose. This file reads them and match.go runs them,
// with the result of Oniguruma, which Hugging Face tokenizers uses: alternatives
// in order, greedy loops that step back.
//
// Read is what published tokenizers use: characters, \r \n \t \s \S \p{...} \P{...},
// classes with ranges and &&, groups, (?i:...), alternatives, ? * + {m,n}, and
// (?!x) and (?=x) where x is one character or class. All else is an error that
// says what: back references, anchors, possessive and lazy loops.

// pattern is a compiled expression.
type pattern struct {
	code   []instr
	splits int // instructions that have two ways to go on
}

type instr struct {
	op   op
	set  *set
	x, y int32 // where to go on: y if x fails. opSplit: its number is z
	z    int32
}

type op uint8

const (
	opSet      op = iota // one character of the set
	opSpan               // as many characters of the set as there are; what follows cannot fail
	opAhead              // a character of the set follows, or with y = 1 none does
	opSplit              // x, and if that fails y
	opJump               // x
	opAccepted           // the end of the pattern
)

const (
	maxPattern = 2048 // bytes of an expression; the longest real one has 500
	maxCode    = 1024 // instructions: {m,n} copies what it repeats
	maxNesting = 100
)

// compile reads an expression.
func compile(src string) (*pattern, error) {
	if len(src) > maxPattern {
		return nil, fmt.Errorf("a pattern of %d bytes, more than %d", len(src), maxPattern)
	}
	p := &patternParser{src: src}
	n, err := p.alternatives(0)
	if err == nil && p.at < len(src) {
		err = p.errorf("a ) that closes nothing")
	}
	if err == nil && n.nullable() {
		err = fmt.Errorf("the pattern matches the empty text")
	}
	if err != nil {
		return nil, err
	}
	c := &patternCompiler{}
	c.node(n)
	c.emit(instr{op: opAccepted})
	if c.full {
		return nil, fmt.Errorf("the pattern needs more than %d steps", maxCode)
	}
	spans(c.code)
	return &pattern{code: c.code, splits: c.splits}, nil
}

func mustCompile(src string) *pattern {
	p, err := compile(src)
	if err != nil {
		panic(err)
	}
	return p
}

// patternNode is a part of an expression.
type patternNode struct {
	kind     nodeKind
	set      *set           // of oneOf, ahead
	not      bool           // of ahead
	list     []*patternNode // of sequence, choice; one of repeat
	min, max int            // of repeat; max -1: no limit
}

type nodeKind uint8

const (
	oneOf nodeKind = iota
	ahead
	sequence
	choice
	repeat
)

// nullable reports whether a node matches the empty text.
func (n *patternNode) nullable() bool {
	switch n.kind {
	case oneOf:
		return false
	case sequence:
		for _, x := range n.list {
			if !x.nullable() {
				return false
			}
		}
	case choice:
		for _, x := range n.list {
			if x.nullable() {
				return true
			}
		}
		return false
	case repeat:
		return n.min == 0 || n.list[0].nullable()
	}
	return true
}

type patternParser struct {
	src  string
	at   int
	fold bool // inside (?i:...)
}

func (p *patternParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s, at byte %d of the pattern", fmt.Sprintf(format, args...), p.at)
}

func (p *patternParser) eat(s string) bool {
	if !strings.HasPrefix(p.src[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

func (p *patternParser) alternatives(depth int) (*patternNode, error) {
	if depth > maxNesting {
		return nil, p.errorf("groups nested more than %d deep", maxNesting)
	}
	out := &patternNode{kind: choice}
	for {
		seq := &patternNode{kind: sequence}
		for p.at < len(p.src) && p.src[p.at] != '|' && p.src[p.at] != ')' {
			n, err := p.atom(depth)
			if err != nil {
				return nil, err
			}
			if n, err = p.quantified(n); err != nil {
				return nil, err
			}
			seq.list = append(seq.list, n)
		}
		if err := p.foldable(seq); err != nil {
			return nil, err
		}
		out.list = append(out.list, seq)
		if !p.eat("|") {
			return out, nil
		}
	}
}

// foldable refuses letters in (?i:...) that one character can stand for, such as
// "ﬀ" for "ff": Oniguruma matches those, one set a character does not.
func (p *patternParser) foldable(seq *patternNode) error {
	for i := range seq.list {
		if !p.fold || i == 0 || seq.list[i-1].kind != oneOf || seq.list[i].kind != oneOf {
			continue
		}
		for _, two := range []string{"ss", "st", "ff", "fi", "fl"} {
			if seq.list[i-1].set.has(rune(two[0])) && seq.list[i].set.has(rune(two[1])) {
				return p.errorf("%q in (?i:...), which is also one character", two)
			}
		}
	}
	return nil
}

func (p *patternParser) atom(depth int) (*patternNode, error) {
	for _, group := range []struct {
		open      string
		fold, not bool
		ahead     bool
	}{{open: "(?:"}, {open: "(?i:", fold: true}, {open: "(?!", ahead: true, not: true}, {open: "(?=", ahead: true}, {open: "("}} {
		if group.open == "(" && strings.HasPrefix(p.src[p.at:], "(?") || !p.eat(group.open) {
			continue
		}
		was := p.fold
		p.fold = p.fold || group.fold
		n, err := p.alternatives(depth + 1)
		p.fold = was
		if err != nil {
			return nil, err
		}
		if !p.eat(")") {
			return nil, p.errorf("a group without its )")
		}
		if !group.ahead {
			return n, nil
		}
		if len(n.list) != 1 || len(n.list[0].list) != 1 || n.list[0].list[0].kind != oneOf {
			return nil, p.errorf("look-ahead for more than one character")
		}
		return &patternNode{kind: ahead, set: n.list[0].list[0].set, not: group.not}, nil
	}
	switch c := p.src[p.at]; {
	case c == '[':
		s, err := p.class(depth + 1)
		return &patternNode{kind: oneOf, set: s}, err
	case c == '\\':
		s, _, err := p.escape()
		return &patternNode{kind: oneOf, set: s}, err
	case strings.IndexByte("(.^$*+?{", c) >= 0:
		return nil, p.errorf("%q is not known here", p.src[p.at:min(len(p.src), p.at+4)])
	}
	s, _, err := p.literal()
	return &patternNode{kind: oneOf, set: s}, err
}

// literal reads one character that stands for itself.
func (p *patternParser) literal() (*set, rune, error) {
	r, n := utf8.DecodeRuneInString(p.src[p.at:])
	if p.fold && n > 1 {
		return nil, 0, p.errorf("%q in (?i:...): only ASCII is known there", p.src[p.at:p.at+n])
	}
	p.at += n
	return p.char(r), r, nil
}

func (p *patternParser) char(r rune) *set { return p.between(r, r) }

func (p *patternParser) between(from, to rune) *set {
	s := rangeSet(from, to)
	if !p.fold {
		return s
	}
	return foldSet(s)
}

func (p *patternParser) quantified(n *patternNode) (*patternNode, error) {
	low, high := 1, 1
	switch {
	case p.eat("?"):
		low = 0
	case p.eat("*"):
		low, high = 0, -1
	case p.eat("+"):
		high = -1
	case p.at < len(p.src) && p.src[p.at] == '{':
		var err error
		if low, high, err = p.counts(); err != nil {
			return nil, err
		}
	default:
		return n, nil
	}
	if p.at < len(p.src) && strings.IndexByte("?*+{", p.src[p.at]) >= 0 {
		return nil, p.errorf("a loop with a second quantifier (lazy, possessive)")
	}
	if n.nullable() {
		return nil, p.errorf("a loop around what matches the empty text")
	}
	return &patternNode{kind: repeat, list: []*patternNode{n}, min: low, max: high}, nil
}

// counts reads {n}, {n,} and {m,n}.
func (p *patternParser) counts() (low, high int, err error) {
	start := p.at
	p.at++
	number := func() int {
		n, from := 0, p.at
		for p.at < len(p.src) && p.src[p.at] >= '0' && p.src[p.at] <= '9' && n < 10000 {
			n = 10*n + int(p.src[p.at]-'0')
			p.at++
		}
		if p.at == from {
			return -1
		}
		return n
	}
	low = number()
	high = low
	if p.eat(",") {
		high = number()
	}
	if !p.eat("}") || low < 0 || high >= 0 && high < low || high == 0 || max(low, high) > 1000 {
		p.at = start
		return 0, 0, p.errorf("%q is not known here", p.src[p.at:min(len(p.src), p.at+8)])
	}
	return low, high, nil
}

// escape reads \x. r is the character if it stands for one, else -1.
func (p *patternParser) escape() (s *set, r rune, err error) {
	rest := p.src[p.at+1:]
	if rest == "" {
		return nil, 0, p.errorf(`a \ at the end`)
	}
	switch c := rest[0]; {
	case c == 'p' || c == 'P':
		name, _, ok := strings.Cut(rest[1:], "}")
		negated := strings.HasPrefix(name, "{^")
		base := categories[strings.TrimPrefix(strings.TrimPrefix(name, "{"), "^")]
		if !ok || !strings.HasPrefix(name, "{") || base == nil {
			return nil, 0, p.errorf("the property %s", clip(rest))
		}
		p.at += 1 + 1 + len(name) + 1
		if negated != (c == 'P') {
			return base.not(), -1, nil
		}
		return base, -1, nil
	case c == 's' || c == 'S':
		p.at += 2
		if c == 'S' {
			return spaces.not(), -1, nil
		}
		return spaces, -1, nil
	case c == 'r' || c == 'n' || c == 't':
		p.at += 2
		r = map[byte]rune{'r': '\r', 'n': '\n', 't': '\t'}[c]
		return p.char(r), r, nil
	case c > ' ' && c < 0x7f && !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'):
		p.at += 2
		return p.char(rune(c)), rune(c), nil
	}
	return nil, 0, p.errorf(`\%s is not known`, rest[:1])
}

// class reads [...].
func (p *patternParser) class(depth int) (*set, error) {
	if depth > maxNesting {
		return nil, p.errorf("classes nested more than %d deep", maxNesting)
	}
	p.at++ // [
	negated := p.eat("^")
	var all *set // what stands before &&
	var some []*set
	for {
		if p.at >= len(p.src) {
			return nil, p.errorf("a class without its ]")
		}
		switch {
		case p.src[p.at] == ']':
			if len(some) == 0 {
				return nil, p.errorf("an empty class")
			}
			p.at++
			s := union(some)
			if all != nil {
				s = all.and(s)
			}
			if negated {
				s = s.not()
			}
			return s, nil
		case p.eat("&&"):
			if len(some) == 0 {
				return nil, p.errorf("&& after nothing")
			}
			s := union(some)
			if all != nil {
				s = all.and(s)
			}
			all, some = s, nil
		case strings.HasPrefix(p.src[p.at:], "[:"):
			return nil, p.errorf("[: :] is not known")
		case p.src[p.at] == '[':
			s, err := p.class(depth + 1)
			if err != nil {
				return nil, err
			}
			some = append(some, s)
		default:
			s, from, err := p.member()
			if err != nil {
				return nil, err
			}
			if from >= 0 && p.at+1 < len(p.src) && p.src[p.at] == '-' && p.src[p.at+1] != ']' {
				p.at++
				_, to, err := p.member()
				if err != nil {
					return nil, err
				}
				if to < from {
					return nil, p.errorf("a range that ends before it begins")
				}
				s = p.between(from, to)
			}
			some = append(some, s)
		}
	}
}

// member reads one character or class of characters inside [...].
func (p *patternParser) member() (*set, rune, error) {
	if p.src[p.at] == '\\' {
		return p.escape()
	}
	return p.literal()
}

type patternCompiler struct {
	code   []instr
	splits int
	full   bool
}

func (c *patternCompiler) emit(i instr) int {
	if len(c.code) >= maxCode {
		c.full = true
		return 0
	}
	if i.op == opSplit {
		i.z = int32(c.splits)
		c.splits++
	}
	c.code = append(c.code, i)
	return len(c.code) - 1
}

func (c *patternCompiler) node(n *patternNode) {
	if c.full {
		return
	}
	here := func() int32 { return int32(len(c.code)) }
	switch n.kind {
	case oneOf:
		c.emit(instr{op: opSet, set: n.set})
	case ahead:
		i := instr{op: opAhead, set: n.set}
		if n.not {
			i.y = 1
		}
		c.emit(i)
	case sequence:
		for _, x := range n.list {
			c.node(x)
		}
	case choice:
		var ends []int
		for k, x := range n.list {
			if k == len(n.list)-1 {
				c.node(x)
				break
			}
			split := c.emit(instr{op: opSplit})
			c.code[split].x = here()
			c.node(x)
			ends = append(ends, c.emit(instr{op: opJump}))
			c.code[split].y = here()
		}
		for _, end := range ends {
			c.code[end].x = here()
		}
	case repeat:
		for range n.min {
			c.node(n.list[0])
		}
		if n.max < 0 {
			loop := c.emit(instr{op: opSplit})
			c.code[loop].x = here()
			c.node(n.list[0])
			c.emit(instr{op: opJump, x: int32(loop)})
			c.code[loop].y = here()
			return
		}
		var exits []int
		for range n.max - n.min {
			split := c.emit(instr{op: opSplit})
			c.code[split].x = here()
			exits = append(exits, split)
			c.node(n.list[0])
		}
		for _, exit := range exits {
			c.code[exit].y = here()
		}
	}
}

// spans turns loops over one set into one step where what follows cannot fail, so
// that the loop never has to step back. Most loops of real patterns are of that kind.
func spans(code []instr) {
	sure := make([]bool, len(code)) // from here on the match cannot fail
	for i := len(code) - 1; i >= 0; i-- {
		switch in := code[i]; in.op {
		case opAccepted:
			sure[i] = true
		case opJump:
			sure[i] = int(in.x) > i && sure[in.x]
		case opSplit:
			sure[i] = sure[in.y]
			loop := int(in.x) == i+1 && int(in.y) == i+3 && code[i+1].op == opSet && code[i+2].op == opJump && int(code[i+2].x) == i
			if loop && sure[in.y] {
				code[i] = instr{op: opSpan, set: code[i+1].set, x: in.y, z: in.z}
			}
		}
	}
}
