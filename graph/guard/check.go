package guard

import (
	"fmt"

	"github.com/expr-lang/expr/ast"
)

var functions = map[string]bool{"rows": true, "size": true, "dim": true, "rank": true, "dtype": true, "has": true}

var operators = map[string]bool{
	"==": true, "!=": true, "<": true, "<=": true, ">": true, ">=": true, "in": true,
	"&&": true, "and": true, "||": true, "or": true, "+": true, "-": true, "*": true, "%": true,
}

// check lets through only expressions whose evaluation is bounded by their text:
// comparisons, and/or/not, membership in a written list, + - * %, and the
// functions above. No loops, no strings made at run time, no member access.
func check(n ast.Node) error {
	bad := func(what string) error {
		return &Error{n.Location().From, what + " is not allowed in a guard"}
	}
	switch x := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.IdentifierNode:
		return nil
	case *ast.UnaryNode:
		if x.Operator != "!" && x.Operator != "not" && x.Operator != "-" {
			return bad("operator " + x.Operator)
		}
		return check(x.Node)
	case *ast.BinaryNode:
		if x.Operator == "/" {
			return &Error{n.Location().From, "integer / gives a fraction; write the product on the other side, or use %"}
		}
		if !operators[x.Operator] {
			return bad("operator " + x.Operator)
		}
		if _, list := x.Right.(*ast.ArrayNode); x.Operator == "in" && !list {
			return &Error{x.Right.Location().From, "in needs a list, such as [4, 8]"}
		}
		if err := check(x.Left); err != nil {
			return err
		}
		return check(x.Right)
	case *ast.ArrayNode:
		for _, item := range x.Nodes {
			switch item.(type) {
			case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode:
			default:
				return &Error{item.Location().From, "a list may hold only numbers and quoted words"}
			}
		}
		return nil
	case *ast.CallNode:
		id, ok := x.Callee.(*ast.IdentifierNode)
		if !ok {
			return bad("this call")
		} else if !functions[id.Value] {
			return &Error{n.Location().From, "unknown name " + id.Value}
		}
		for i, a := range x.Arguments {
			if _, name := a.(*ast.IdentifierNode); i == 0 && !name {
				return &Error{a.Location().From, fmt.Sprintf("%s takes the name of a value", id.Value)}
			}
			if err := check(a); err != nil {
				return err
			}
		}
		return nil
	case *ast.BuiltinNode:
		return bad("function " + x.Name)
	case *ast.PredicateNode, *ast.VariableDeclaratorNode, *ast.PointerNode, *ast.SequenceNode:
		return bad("a loop or a variable")
	case *ast.ConditionalNode:
		return bad("a ? b : c")
	case *ast.MemberNode, *ast.ChainNode, *ast.SliceNode:
		return bad("access to a member or element")
	case *ast.NilNode:
		return bad("nil")
	}
	return bad(fmt.Sprintf("this expression (%T)", n))
}

func walk(n ast.Node, f func(ast.Node)) {
	f(n)
	switch x := n.(type) {
	case *ast.UnaryNode:
		walk(x.Node, f)
	case *ast.BinaryNode:
		walk(x.Left, f)
		walk(x.Right, f)
	case *ast.ArrayNode:
		for _, i := range x.Nodes {
			walk(i, f)
		}
	case *ast.CallNode:
		for _, a := range x.Arguments {
			walk(a, f)
		}
	}
}
