// Package enginetest is the one table of tests that every engine runs: each op on
// many shapes, element types, attributes and special values, compared with what
// MLX gave (testdata/ops.jsonl.gz, made by scripts/oracle/op_goldens.py), and the
// rules of ownership that package engine states.
//
// It holds no expected value of its own making, and no engine is compared with
// itself.
package enginetest
