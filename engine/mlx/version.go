package mlx

// CInterface is the version of mlx-c that this package is written for; mlx-c does not
// tell its own. scripts/setup-mlx.sh takes that version.
const CInterface = "0.7.0"
