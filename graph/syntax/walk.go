package syntax

// Walk calls f for e and for all that it is made of, an expression before its parts and
// the parts in order. Where f returns false, the parts are left out.
func Walk(e Expr, f func(Expr) bool) {
	if e == nil || !f(e) {
		return
	}
	switch x := e.(type) {
	case *Call:
		for _, a := range x.Args {
			Walk(a.Value, f)
		}
	case *Unary:
		Walk(x.X, f)
	case *Binary:
		Walk(x.X, f)
		Walk(x.Y, f)
	case *List:
		for _, i := range x.Items {
			Walk(i, f)
		}
	}
}
