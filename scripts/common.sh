#!/usr/bin/env bash
# What the set-up scripts share. Sourced, never run; the sourcing script sets -eu.
#
# Every script works from the root of the checkout and writes only below .cache/,
# so that removing that one folder undoes all of them.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
ROOT=$PWD
CACHE=${ZMLX_CACHE:-$ROOT/.cache} # another one keeps a second set-up, such as CUDA's, apart
mkdir -p "$CACHE"

# say prints a progress line; fail prints what is wrong and what to do, and stops.
say() { printf '==> %s\n' "$*" >&2; }
fail() {
	printf 'error: %s\n' "$1" >&2
	shift
	for line in "$@"; do printf '       %s\n' "$line" >&2; done
	exit 1
}

# at_least HAVE WANT compares dotted version numbers.
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$2" ]
}

# number prints the first dotted number of its input: "cmake version 3.25.1" -> 3.25.1
number() { sed -n 's/[^0-9]*\([0-9][0-9]*\(\.[0-9][0-9]*\)*\).*/\1/p' | head -n 1; }

# how TOOL says how to get a tool on this system.
how() {
	case "$(uname -s):$1" in
	*:go) echo "https://go.dev/dl (unpack to /usr/local and put /usr/local/go/bin on PATH); macOS: brew install go" ;;
	*:cargo) echo "https://rustup.rs; macOS: brew install rust" ;;
	Darwin:c++ | Darwin:make) echo "xcode-select --install" ;;
	Darwin:*) echo "brew install ${1%3}" ;;
	*:c++) echo "apt-get install g++ (Debian, Ubuntu) or dnf install gcc-c++ (Fedora)" ;;
	*:python3) echo "apt-get install python3 python3-pip python3-venv (Debian, Ubuntu) or dnf install python3-pip (Fedora)" ;;
	*) echo "apt-get install $1 (Debian, Ubuntu) or dnf install $1 (Fedora)" ;;
	esac
}

# need TOOL WANT HAVE stops unless version HAVE of TOOL is at least WANT.
need() {
	[ -n "$3" ] || fail "$1 is missing (version $2 or newer is needed)" "get it: $(how "$1")"
	at_least "$3" "$2" || fail "$1 is version $3; $2 or newer is needed" "get it: $(how "$1")"
}

need_go() { need go 1.26 "$( (go version 2>/dev/null || true) | sed 's/^go version go//' | number)"; }
need_cargo() { need cargo 1.82 "$( (cargo --version 2>/dev/null || true) | number)"; } # the first with "cargo info"
need_cmake() { need cmake 3.16 "$( (cmake --version 2>/dev/null || true) | number)"; }
need_python() {
	need python3 3.10 "$( (python3 --version 2>/dev/null || true) | number)"
	python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip" "get it: $(how python3)"
}
need_cxx() {
	local cxx=${CXX:-c++}
	command -v "$cxx" >/dev/null || fail "a C++20 compiler is missing ($cxx)" "get it: $(how c++)"
	echo 'int main() { return 0; }' | "$cxx" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ||
		fail "$cxx does not know -std=c++20 (g++ 12 or clang 15, or newer, is needed)" "get it: $(how c++)"
}

# sha256 FILE prints its checksum; check FILE SHA256 stops if it is another one.
sha256() {
	if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}
check() {
	local got
	got=$(sha256 "$1")
	[ "$got" = "$2" ] || fail "$(basename "$1") is not the pinned file" "wanted sha256 $2" "got    sha256 $got"
}

# wheel DIR NAME==VERSION SHA256... downloads the wheel of this platform into DIR
# and prints its path. pip itself refuses a file with any other checksum.
wheel() {
	local dir=$1 spec=$2 sum
	shift 2
	mkdir -p "$dir"
	{
		printf '%s' "$spec"
		for sum in "$@"; do printf ' --hash=sha256:%s' "$sum"; done
		echo
	} >"$dir/requirements.txt"
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--require-hashes --requirement "$dir/requirements.txt" --dest "$dir" >&2 ||
		fail "cannot download $spec for $(uname -s) $(uname -m)" "see pip's message above"
	ls "$dir"/*.whl
}

# lock NAME waits until no other script of this checkout holds NAME, so that two
# make runs at a time do not write the same folder. The lock ends with the script.
lock() {
	local dir=$CACHE/$1.lock waited=0
	until mkdir "$dir" 2>/dev/null; do
		# A script that was killed leaves its lock; the process number in it tells.
		if [ -s "$dir/pid" ] && ! kill -0 "$(cat "$dir/pid")" 2>/dev/null; then
			rm -rf "$dir"
			continue
		fi
		[ "$waited" -ne 0 ] || say "waiting for another set-up ($dir)"
		waited=$((waited + 1))
		[ "$waited" -lt 1800 ] || fail "another set-up has held $dir for half an hour" "remove that folder if none is running"
		sleep 1
	done
	echo $$ >"$dir/pid"
	# shellcheck disable=SC2064 # the path of now is meant
	trap "rm -rf '$dir'" EXIT
}
