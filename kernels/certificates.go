package kernels

import _ "embed"

// Certificates is the file certificates.json, which says of which content each kernel of
// the catalogue was checked. Package verify/kernelcheck reads and writes it.
//
//go:embed certificates.json
var Certificates []byte
