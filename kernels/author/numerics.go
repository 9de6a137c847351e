package author

// library are the functions whose last bit differs between the libraries of devices.
var library = map[string]bool{"cos": true, "erf": true, "exp": true, "expm1": true, "log": true, "log1p": true,
	"power": true, "rsqrt": true, "sigmoid": true, "sin": true, "tanh": true}

// maxUnits is how often a last bit may count in what is called exact.
const maxUnits = 2

// exact reports whether a source that rounds as the reference does may promise `exact`. It
// may not if a difference in the last bit of a library's exp can grow: through a sum that
// cancels (1 + tanh(x)), through another function, or through a condition. Where there are
// only products behind it, it stays what it is.
func exact(result *node) bool {
	units := map[*node]int{} // how many last bits count in a value
	for _, x := range reachable(result) {
		if x.op == "logaddexp" {
			return false // MLX's backends round its steps in different places
		}
		if library[x.op] {
			units[x] = 1
		}
		for i, y := range x.in {
			if units[y] == 0 {
				continue
			}
			switch x.op {
			case "abs", "maximum", "minimum", "negative", "sqrt":
				units[x] = max(units[x], units[y])
			case "where":
				if i == 0 {
					return false
				}
				units[x] = max(units[x], units[y])
			case "multiply", "divide":
				units[x] += units[y]
			case "square":
				units[x] = 2 * units[y]
			default:
				return false
			}
		}
		if units[x] > maxUnits {
			return false
		}
	}
	return true
}
