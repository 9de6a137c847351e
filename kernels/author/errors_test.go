package author

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
)

// Every refusal says what, where and, mostly, what to do next.
func TestErrors(t *testing.T) {
	deep := "x" + strings.Repeat("+sin(x", 100) + strings.Repeat(")", 100)
	for _, c := range []struct {
		form form
		text string
		want string // "line:col code: message / hint"
	}{
		{elementwise, "", "1:1 author/syntax: the formula is empty"},
		{elementwise, "x * tanj(x)", `1:5 author/function: there is no function tanj / did you mean "tanh"?`},
		{elementwise, "x * tan(x)", `1:5 author/function: MLX's tan is not in what sources can compute on all targets / did you mean "tanh"?`},
		{elementwise, "x * ", "1:4 author/syntax: expected an expression, found the end of the text"},
		{elementwise, "y = exp(x)\n  z = y +* 2\nz", "2:10 author/syntax: expected an expression, found \"*\""},
		{elementwise, "exp(x, y)", "1:1 author/call: exp takes 1 operand, found 2"},
		{elementwise, "where(x, 1, 2)", "1:1 author/kind: where needs a condition, such as x > 0, not a number"},
		{elementwise, "1 + (x > 0)", "1:3 author/kind: + needs numbers, not a condition / where(condition, a, b) makes a number of one"},
		{elementwise, "x > 0", "1:1 author/result: the result is a condition, not a number / write where(condition, a, b)"},
		{elementwise, "where(x > 0, 1, 0)", "1:1 author/result: the result does not take its element type from an input / let a side of it be an input, as in where(x > 0, x, 0)"},
		{elementwise, "x * (a + 1)", "1:8 author/parameters: + of parameters and numbers alone has no element type / begin with an input, x * a * 2 for x * (a * 2), or make the result a parameter of its own"},
		{elementwise, "x + sum(x)", "1:5 author/reduce: sum reduces a row, which an elementwise formula cannot / use a reduction (one value a row) or map_reduce (reductions, then a map)"},
		{elementwise, "max(x, y)", "1:1 author/call: max is of one operand, over the last axis; found 2 / of two values it is maximum(a, b)"},
		{elementwise, "x / 0 + 1 / 0", "1:11 author/number: +Inf is not a number that float32 can hold"},
		{elementwise, "float + 1", `1:1 author/name: name "float" has another meaning in sources`},
		{elementwise, "x_t * 2", `1:1 author/name: name "x_t" is kept for generated code, for its beginning or end`},
		{elementwise, "X * 2", `1:1 author/name: name "X" must be small letters, digits and _`},
		{elementwise, "exp * 2", `1:1 author/name: name "exp" is that of a function / call it: exp(...)`},
		{elementwise, "x % 2", "1:3 author/syntax: character '%' is not part of the language"},
		{elementwise, "x in 3", "1:3 author/operator: in is not part of formulas"},
		{elementwise, "[x]", "1:1 author/syntax: [x] is not part of formulas"},
		{elementwise, "sin(a=x)", "1:5 author/call: a: arguments of a formula have no names / a reduction is always over the last axis"},
		{elementwise, "y = x * 2; x = 3; y", "1:12 author/name: x has a meaning already"},
		{elementwise, "x; x * 2", "1:1 author/syntax: a line before the last must be name = expression"},
		{elementwise, "a", "1:1 author/result: the result does not take its element type from an input / let a side of it be an input, as in where(x > 0, x, 0)"},
		{elementwise, "w * 2", "1:1 author/result: no input has rows"},
		{elementwise, "x", "1:1 author/result: the result is an input as it is"},
		{elementwise, deep, "1:601 author/syntax: nested more than 100 deep"},
		{reduction, "x * sum(x)", "1:1 author/result: the result is not one value a row / an outermost sum, mean, max, min, var or logsumexp makes it one; a whole row is map_reduce"},
		{reduction, "sum(sum(x))", "1:1 author/reduce: sum of one value a row: there is nothing to reduce"},
		{reduction, "sum(where(x > 0, 1, 0))", "1:1 author/reduce: sum of numbers alone has no element type / let a side of the choice be an input"},
		{mapReduce, "sum(x)", "1:1 author/result: the result is one value a row / that is a reduction"},
		{mapReduce, "exp(x)", "1:1 author/result: the result has no reduction / that is an elementwise kernel"},
	} {
		o := Options{}
		if strings.Contains(c.text, "a") && (strings.Contains(c.text, "(a ") || c.text == "a") {
			o.Params = []Param{{Name: "a", Default: 1}}
		}
		if strings.Contains(c.text, "w *") {
			o.Vectors = []string{"w"}
		}
		_, err := fromFormula("f", c.text, o, c.form)
		if got := brief(err); got != c.want {
			t.Errorf("%s\n\tgot  %s\n\twant %s", c.text, got, c.want)
		}
	}
}

func brief(err error) string {
	var i *diag.Issue
	if !errors.As(err, &i) {
		return fmt.Sprint(err)
	}
	text := fmt.Sprintf("%d:%d %s: %s", i.Pos.Line, i.Pos.Col, i.Code, i.Message)
	if i.Hint != "" {
		text += " / " + i.Hint
	}
	return text
}

func TestJITErrors(t *testing.T) {
	body := func(lines string) string { return "func f(x, y float, a scalar) float {\n" + lines + "\n}" }
	for _, c := range []struct{ text, want string }{
		{"x + 1", "1:1 author/syntax: expected declaration, found x"},
		{"func f(x float) float { return x * }", "1:36 author/syntax: expected operand, found '}'"},
		{"func f(x float) int { return x }", "1:1 author/syntax: f must return one float"},
		{"func f(x int) float { return x }", "1:10 author/type: type must be float (an input), scalar (an attribute) or vector (an input [n])"},
		{"func F(x float) float { return x }", `1:6 author/name: name "F" of the kernel must be small letters, digits and _`},
		{"func f(x float) float { return x * 2 }\nfunc g(x float) float { return x }", "1:1 author/syntax: there must be one function, found 2 declarations"},
		{body("x = z"), "2:5 author/name: z is not declared / did you mean \"a\"?"},
		{body("total := x\nreturn totl"), `3:8 author/name: totl is not declared / did you mean "total"?`},
		{body("return math.Exp(x)"), "2:8 author/call: only functions of formulas are called / write exp(...) without a package"},
		{body("return x ^ 2"), "2:10 author/operator: ^ is not part of the language / a power is power(x, 3)"},
		{body("for i := 0; i < 3; i++ { x = x * 2 }\nreturn x"), "2:1 author/statement: a loop must be for i := range N, with a constant N"},
		{body("for range 1000 { x = x * 2 }\nreturn x"), "2:11 author/loop: 1000 trips, more than 256"},
		{body("for range 256 { for range 256 { x = x * 2 } }\nreturn x"), "2:33 author/size: the function takes more than 4096 statements to write out"},
		{body("for i := range x { y = y * 2 }\nreturn x"), "2:16 author/loop: the number of trips must be a constant whole number"},
		{body("for range 2 { return x }\nreturn x"), "2:1 author/return: a return in a loop"},
		{body("for range 2 { break }\nreturn x"), "2:15 author/statement: break is not part of the language / a loop runs to its end; put what is left into an if"},
		{body("x++\nreturn x"), "2:1 author/statement: ++ is not part of the language / write += 1 or -= 1"},
		{body("if x { y = 1 }\nreturn x"), "2:4 author/kind: an if needs a condition, such as x > 0"},
		{body("if x > 0 { return x }"), "2:1 author/return: the function ends without return on one side of this if"},
		{body("x = x * 2"), "3:1 author/return: the function ends without return"},
		{body("go f(x)\nreturn x"), "2:1 author/statement: only assignments, if, for range and return are part of the language"},
		{body("return x * (1 / 2)"), "2:15 author/number: 1 / 2 would be 0 in Go / write 0.5"},
		{body("t := x\nt := y\nreturn t"), "3:1 author/name: t is declared already / assign with ="},
		{body("c := x > 0\nc = x\nreturn x"), "3:1 author/kind: c changes between a number and a condition"},
		{body("return sum(x)"), "2:8 author/reduce: sum reduces a row, which an elementwise formula cannot / use a reduction (one value a row) or map_reduce (reductions, then a map)"},
		{body("return x > 0"), "2:8 author/kind: a condition cannot be returned / write an if that returns numbers"},
		{body("return func() float { return x }()"), "2:8 author/call: only functions of formulas are called"},
		{body("return x + y"), "0:0 author/unused: parameter a is not used"},
	} {
		_, err := JIT("f.go", []byte(c.text), Options{})
		if got := brief(err); got != c.want {
			t.Errorf("%s\n\tgot  %s\n\twant %s", c.text, got, c.want)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"Mish", Options{}, `name "Mish" of the kernel must be at most 64 small letters, digits and _`},
		{"f", Options{Params: []Param{{Name: "n"}}}, `parameter: name "n" has another meaning in sources`},
		{"f", Options{Params: []Param{{Name: "a"}}, Vectors: []string{"a"}}, "a is declared twice"},
		{"f", Options{Params: []Param{{Name: "a"}}}, "parameter a is not used"},
		{"f", Options{Vectors: []string{"w"}}, "vector w is not used"},
	} {
		_, err := Elementwise(c.name, "x * 2", c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %s", c.name, c.o, err, c.want)
		}
	}
}
