package chattemplate

// Statements.
type (
	stmt interface{ at() int } // at: the line

	textStmt struct {
		pos
		text string
	}
	printStmt struct {
		pos
		value expr
	}
	ifStmt struct {
		pos
		cond       expr
		then, els_ []stmt // an elif is an if in els_
	}
	forStmt struct {
		pos
		target       expr
		iter, filter expr // filter may be nil
		body, els_   []stmt
	}
	setStmt struct {
		pos
		target, value expr
	}
	// captureStmt renders its body into a string, sends it through filters, and
	// stores it (set … endset) or prints it (filter … endfilter).
	captureStmt struct {
		pos
		target expr // nil: print
		value  expr // the filters over a capturedExpr
		body   []stmt
	}
	macroStmt struct {
		pos
		name     string
		params   []string
		defaults []expr // of the last params
		body     []stmt
	}
	// scopeStmt is a body with names of its own: generation … endgeneration.
	scopeStmt struct {
		pos
		body []stmt
	}
	breakStmt    struct{ pos }
	continueStmt struct{ pos }
)

// Expressions.
type (
	expr interface{ at() int }

	constExpr struct {
		pos
		value any
	}
	nameExpr struct {
		pos
		name string
	}
	capturedExpr struct{ pos }
	listExpr     struct {
		pos
		items []expr
		tuple bool
	}
	dictExpr struct {
		pos
		keys, values []expr
	}
	unaryExpr struct { // not - +
		pos
		op string
		x  expr
	}
	binaryExpr struct { // + - * / // % ~ and or
		pos
		op   string
		l, r expr
	}
	compareExpr struct { // a < b <= c
		pos
		first expr
		ops   []string // == != < <= > >= in notin
		rest  []expr
	}
	condExpr struct { // a if cond else b; b may be nil
		pos
		cond, then, els_ expr
	}
	attrExpr struct {
		pos
		x    expr
		name string
	}
	indexExpr struct {
		pos
		x, index expr
	}
	sliceExpr struct { // any bound may be nil
		pos
		x, start, stop, step expr
	}
	callExpr struct {
		pos
		fn   expr
		args argExprs
	}
	filterExpr struct {
		pos
		x    expr
		name string
		args argExprs
	}
	testExpr struct {
		pos
		x    expr
		name string
		args argExprs
	}
)

type argExprs struct {
	pos []expr
	kw  []kwExpr
}

type kwExpr struct {
	name  string
	value expr
}

type pos int

func (p pos) at() int { return int(p) }
