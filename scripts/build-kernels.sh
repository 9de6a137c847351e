#!/usr/bin/env bash
# Builds bin/libzmlx-kernels.so (.dylib on macOS): the kernels for the CPU, which the
# program loads when it starts to run a model (kernels/cpu/zmlx_kernel.h).
#
# It is made of kernels/cpu/*.cpp, native bodies for some kernels, and of
# .cache/kernels/src/*.cpp, the Metal sources of kernels as C++ (kernels/host.go). A
# kernel that has both is native.
#
# Only what changed is compiled: an object's name has the hash of all that it depends
# on. CXX chooses the compiler, ZMLX_KERNELS_OUT another file to write.
set -euo pipefail
. "$(dirname "$0")/common.sh"

case "$(uname -s)" in
Darwin) out=bin/libzmlx-kernels.dylib link="-dynamiclib" ;;
*) out=bin/libzmlx-kernels.so link="-shared -Wl,-soname,libzmlx-kernels.so" ;;
esac
out=${ZMLX_KERNELS_OUT:-$out}
dir=$CACHE/kernels
cxx=${CXX:-c++}
# No -march: the code chooses by what it finds the processor to be. A product and a sum
# must not become one operation by themselves: kernels say where they round.
flags="-std=c++20 -O2 -fPIC -fvisibility=hidden -ffp-contract=off -pthread -Wall -Wextra -Wno-unknown-pragmas
	-Ikernels/cpu -Ikernels/compat -Ikernels/compat/lib"

need_cxx
mkdir -p "$dir/src" "$dir/obj" "$(dirname "$out")"
lock kernels

# hash prints the checksum of its input.
hash() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

# What the program knows its own kernels by (kernels.Spec.ContentHash), and the Metal
# sources of kernels as C++.
go run ./cmd/zmlx-rewrite kernels host --out "$dir/src"
content() { sed -n "s/^$1 //p" "$dir/src/hashes"; }

# The table of kernels (kernels/cpu/registry.cpp).
{
	echo '// Written by scripts/build-kernels.sh.'
	echo '#include "zmlx_kernel.h"'
	rows=
	for spec in kernels/*.yaml; do
		name=$(basename "$spec" .yaml)
		if [ -f "kernels/cpu/$name.cpp" ]; then
			run=zmlx_native_$name
		elif [ -f "$dir/src/$name.cpp" ]; then
			run=zmlx_emulated_$name
		else
			continue
		fi
		echo "extern \"C\" int $run(const zmlx_call *);"
		rows+="    {\"$name\", \"$(content "$name")\", $run},"$'\n'
	done
	echo 'extern "C" {'
	echo 'extern const int zmlx_table_size;'
	echo 'extern const zmlx_kernel zmlx_table[];'
	printf 'const zmlx_kernel zmlx_table[] = {\n%s};\n' "$rows"
	echo 'const int zmlx_table_size = sizeof zmlx_table / sizeof *zmlx_table;'
	echo '}'
} >"$dir/table.cpp"

# What objects depend on besides their source. Native bodies see of compat only what
# threads and element types need.
depends() {
	{
		echo "$flags"
		"$cxx" --version
		find "$@" -name '*.h' -print0 | sort -z | xargs -0 cat
	} | hash
}
native=$(depends kernels/cpu kernels/compat/host)
made=$(depends kernels/cpu kernels/compat)
objects=()
missing=()
for source in kernels/cpu/*.cpp "$dir"/src/*.cpp "$dir/table.cpp"; do
	[ -f "$source" ] || continue
	case "$source" in
	kernels/* | */table.cpp) kind=native common=$native ;;
	*) kind=made common=$made ;;
	esac
	object=$dir/obj/$kind-$(basename "$source" .cpp)-$( (echo "$common" && cat "$source") | hash | cut -c 1-16).o
	objects+=("$object")
	[ -f "$object" ] || missing+=("$source" "$object")
done
stamp=$(printf '%s\n' "$link" "${objects[@]}" | hash)
if [ -f "$out" ] && [ "$(cat "$out.stamp" 2>/dev/null)" = "$stamp" ]; then
	say "CPU kernels: $out is up to date"
	exit 0
fi
if [ ${#missing[@]} -gt 0 ]; then
	say "CPU kernels: compiling $((${#missing[@]} / 2)) of ${#objects[@]} files"
	export cxx flags
	# shellcheck disable=SC2016 # the inner shell expands these
	printf '%s\0' "${missing[@]}" | xargs -0 -n 2 -P "$(getconf _NPROCESSORS_ONLN)" bash -c '
		$cxx $flags -c "$1" -o "$2.new" && mv "$2.new" "$2"' compile ||
		fail "the CPU kernels do not compile" "see the compiler's messages above"
fi
# The old file stays whole until the new one is: a program may have it mapped.
# shellcheck disable=SC2086
"$cxx" $link -pthread -o "$out.new" "${objects[@]}" || fail "the CPU kernels do not link" "see the linker's messages above"
mv "$out.new" "$out"
echo "$stamp" >"$out.stamp"
for object in "$dir"/obj/*; do
	[[ " ${objects[*]} " == *" $object "* ]] || rm -f "$object"
done
say "CPU kernels: built $out, $(grep -c '^    {' "$dir/table.cpp") kernels"
