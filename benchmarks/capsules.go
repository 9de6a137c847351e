// Package benchmarks has what the program carries of benchmarks/capsules: a folder of it may
// have a ledger.json of smart, which is what a first use takes for granted on a device of the
// same name.
package benchmarks

import "embed"

// Files are the JSON files of capsules, as capsules/NAME/FILE.json.
//
//go:embed capsules/*/*.json
var Files embed.FS
