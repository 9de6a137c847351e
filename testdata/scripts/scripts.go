// Package scripts holds the testscript suites, one folder a theme, so that the
// command can carry them: `zmlx-rewrite test` runs them without Go or a checkout.
package scripts

import "embed"

// Files are all scripts, as THEME/NAME.txtar.
//
//go:embed */*.txtar
var Files embed.FS
