#!/usr/bin/env bash
# Finds or builds mlx-c, the C interface of MLX, and writes how to compile against
# it to .cache/mlx/env.mk (for make) and .cache/mlx/env.sh (for a shell):
#
#     scripts/setup-mlx.sh && . .cache/mlx/env.sh && go test -tags mlx ./engine/mlx
#
# An installed mlx-c comes first: the folder MLX_C_DIR, pkg-config, Homebrew. Else
# the library comes from MLX's own wheel, and mlx-c is built from the C++ sources
# that the Rust crate mlx-sys carries (no Rust is compiled). MLX_BACKEND=cuda takes
# the wheel for NVIDIA GPUs, MLX_BACKEND=cpu or metal the others; without it the
# choice is cpu on Linux and metal on macOS.
#
# Idempotent: a second run only checks a stamp. Nothing outside .cache/ is touched.
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_go # not for MLX, but every target of the Makefile starts here

MLX_VERSION=0.32.2
MLX_C_VERSION=0.7.0
CRATE_SHA256=da965f83ce211b80f9b681d9bbd6fa625fe6bb2e659ba7bc55dd95eea8d3b028

case "$(uname -s)" in
Darwin) backend=${MLX_BACKEND:-metal} ;;
*) backend=${MLX_BACKEND:-cpu} ;;
esac
case "$backend" in
cpu) # x86-64, arm64
	package=mlx-cpu
	sums="fc5d31b90fc4f457b2f9614ed45651a567d22a6a11a03d114a90a4e10bdd8878
		d0f94625588b51a878786dd51cec5617894ce586cf3c94645ce1b64e24c27c0b"
	;;
cuda) # x86-64, arm64
	package=mlx-cuda-13
	sums="335094ccd1c0c6dc3e09c8caba207c8180602bacc0c38ba20c1d81e9456ab394
		49b1a25df9021f3b519a534fd39a32a5cdbf93a1b265a31e59671c2d9fc9f4a2"
	;;
metal) # macOS 14, 15, 26
	package=mlx-metal
	sums="3825fff379dbc107dd3413e564a06caeaa24819910ec49c0439e454c06a1b9b8
		55a369250d220b2cf10213a87a2ac1b1a420608c5b35b1df4e7147ac8e32f121
		e6abeac9ac5265830c9c1541b6f96e9be37a85c2446763a46ad466c63a3837ab"
	;;
*) fail "MLX_BACKEND=$backend is unknown" "use cpu, cuda or metal" ;;
esac
# NVIDIA's libraries that the CUDA wheel loads at run time, as it asks for them.
cuda_libraries="nvidia-cublas==13.10.0.20 nvidia-cuda-nvrtc==13.5.37 nvidia-cuda-runtime==13.5.37
	nvidia-cudnn-cu13==9.28.1.4 nvidia-cufft==12.5.0.14 nvidia-nccl-cu13==2.32.3 nvidia-nvjitlink==13.5.37"

mkdir -p "$CACHE/mlx"
lock mlx

# write_env INCLUDE LIB MLX_INCLUDE MLX_LIB [LINK FLAG]: how to compile against mlx-c
# and, for engine/mlx/kernel_primitive.cpp, against MLX itself. The rpath lets the
# binary run as it is, without LD_LIBRARY_PATH. Where the kernels for the CPU are
# (build-kernels.sh) is for tests, whose binaries lie elsewhere.
# Single quotes are understood by the go command and by the shell.
write_env() {
	local cflags="-g -O2 '-I$1'" ldflags="'-L$2' '-Wl,-rpath,$2'" library=$ROOT/bin/libzmlx-kernels.so
	local cxxflags="-std=c++20 $cflags"
	[ "$3" = "$1" ] || cxxflags+=" '-I$3'"
	[ "$4" = "$2" ] || ldflags+=" '-L$4' '-Wl,-rpath,$4'"
	ldflags+=${5:+ $5}
	[ "$(uname -s)" != Darwin ] || library=${library%.so}.dylib
	local name value
	for name in CGO_CFLAGS CGO_CXXFLAGS CGO_LDFLAGS ZMLX_KERNELS; do
		case $name in
		CGO_CFLAGS) value=$cflags ;;
		CGO_CXXFLAGS) value=$cxxflags ;;
		CGO_LDFLAGS) value=$ldflags ;;
		ZMLX_KERNELS) value=$library ;;
		esac
		printf 'export %s := %s\n' "$name" "$value" >&3
		printf 'export %s="%s"\n' "$name" "$value" >&4
	done 3>"$CACHE/mlx/env.mk.new" 4>"$CACHE/mlx/env.sh.new"
	for f in env.mk env.sh; do # a file that did not change keeps its time
		cmp -s "$CACHE/mlx/$f.new" "$CACHE/mlx/$f" && rm "$CACHE/mlx/$f.new" || mv "$CACHE/mlx/$f.new" "$CACHE/mlx/$f"
	done
}

# probe INCLUDE LIB compiles, links and runs a program against an mlx-c and prints
# the version of its MLX. The signature it names came with mlx-c 0.7.0.
probe() {
	local dir=$CACHE/mlx/probe
	mkdir -p "$dir"
	cat >"$dir/probe.c" <<-'C'
		#include <stdio.h>
		#include "mlx/c/mlx.h"
		static int (*sdpa)(mlx_array*, const mlx_array, const mlx_array, const mlx_array, float, const char*,
			const mlx_array, const mlx_array, bool, const mlx_stream) = mlx_fast_scaled_dot_product_attention;
		int main(void) {
			mlx_string v = mlx_string_new();
			if (!sdpa || mlx_version(&v)) return 1;
			puts(mlx_string_data(v));
			return 0;
		}
	C
	"${CC:-cc}" -Werror -Wno-unused "-I$1" "$dir/probe.c" -o "$dir/probe" "-L$2" "-Wl,-rpath,$2" -lmlxc >"$dir/log" 2>&1 &&
		"$dir/probe" 2>>"$dir/log"
}

# mlx_beside PREFIX prints the prefix of the MLX that an installed mlx-c was built
# with: its own, or a package beside it.
mlx_beside() {
	local prefix
	for prefix in "$1" "$(brew --prefix mlx 2>/dev/null || true)" /usr/local /usr; do
		[ ! -f "$prefix/include/mlx/backend/cpu/encoder.h" ] || { echo "$prefix" && return 0; }
	done
	return 1
}

# use_installed NAME PREFIX takes an installed mlx-c if it fits.
use_installed() {
	local include=$2/include lib version mlx
	[ -f "$include/mlx/c/mlx.h" ] || return 1
	if ! mlx=$(mlx_beside "$2"); then
		say "the mlx-c of $1 in $2 is not used: there are no C++ headers of MLX beside it"
		return 1
	fi
	for lib in "$2/lib" "$2/lib64" "$2/lib/$(uname -m)-linux-gnu"; do
		ls "$lib"/libmlxc.* >/dev/null 2>&1 || continue
		if version=$(probe "$include" "$lib"); then
			write_env "$include" "$lib" "$mlx/include" "${lib/#"$2"/$mlx}"
			say "MLX $version: the mlx-c of $1 in $2"
			return 0
		fi
		say "the mlx-c of $1 in $2 is not used: it is not $MLX_C_VERSION or does not link ($CACHE/mlx/probe/log)"
	done
	return 1
}

if [ -n "${MLX_C_DIR:-}" ]; then
	use_installed MLX_C_DIR "$MLX_C_DIR" && exit 0
	fail "MLX_C_DIR=$MLX_C_DIR holds no usable mlx-c" \
		"it must have include/mlx/c/mlx.h and lib/libmlxc.* of mlx-c $MLX_C_VERSION" "or unset it to let this script build one"
fi
if [ -z "${MLX_BACKEND:-}" ]; then # who names a backend wants that wheel
	for name in mlxc mlx-c; do
		if command -v pkg-config >/dev/null && pkg-config --exists "$name" 2>/dev/null; then
			use_installed pkg-config "$(pkg-config --variable=prefix "$name")" && exit 0
		fi
	done
	if command -v brew >/dev/null && prefix=$(brew --prefix mlx-c 2>/dev/null); then
		use_installed Homebrew "$prefix" && exit 0
	fi
fi

prefix=$CACHE/mlx/$backend
link=
# Without a driver there is no libcuda.so.1 to resolve libmlx's symbols with; the
# binary is still to be built, for the machine that has one.
[ "$backend" != cuda ] || link=-Wl,--unresolved-symbols=ignore-in-shared-libs
# Count recipe up when the way of building below changes.
stamp="recipe 1, $package $MLX_VERSION, mlx-c $MLX_C_VERSION $CRATE_SHA256, shim $(sha256 scripts/format_shim.h)"
if [ "$(cat "$prefix/stamp" 2>/dev/null)" = "$stamp" ]; then
	write_env "$prefix/include" "$prefix/lib" "$prefix/site/mlx/include" "$prefix/site/mlx/lib" "$link"
	say "MLX $MLX_VERSION ($backend), mlx-c $MLX_C_VERSION: ready in .cache/mlx/$backend"
	exit 0
fi

need_python
need_cargo
need_cmake
need_cxx
# All is built beside the old state and takes its place at the end: set-up that is
# cut off leaves nothing half done. Nothing inside names its own path.
work=$CACHE/mlx/work
new=$work/prefix
rm -rf "$work"
mkdir -p "$new/site"

say "MLX $MLX_VERSION: fetching the wheel $package"
# shellcheck disable=SC2086 # several checksums, one a platform
file=$(wheel "$work/wheel" "$package==$MLX_VERSION" $sums)
python3 -m zipfile -e "$file" "$new/site"
if [ "$backend" = cuda ] && [ "${MLX_CUDA_LIBRARIES:-}" != system ]; then # "system": the machine that runs it has them
	say "fetching NVIDIA's run-time libraries"
	# shellcheck disable=SC2086
	python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--root-user-action ignore --target "$new/site" $cuda_libraries >&2
fi

say "mlx-c $MLX_C_VERSION: fetching the crate mlx-sys, for its C++ sources"
# Of all cargo commands, info fetches one crate alone. It must run outside of any
# Rust workspace, and leaves the file in cargo's own cache.
(cd "$work" && cargo info --quiet "mlx-sys@$MLX_C_VERSION" >"$work/cargo.log" 2>&1) ||
	fail "cargo cannot fetch mlx-sys $MLX_C_VERSION" "$(tail -n 3 "$work/cargo.log")"
crate=$(find "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/mlx-sys-"$MLX_C_VERSION".crate 2>/dev/null | head -n 1)
[ -n "$crate" ] || fail "cargo fetched mlx-sys $MLX_C_VERSION but left no file in its cache" "see $work/cargo.log"
check "$crate" "$CRATE_SHA256"
tar -xzf "$crate" -C "$work"

say "mlx-c $MLX_C_VERSION: building with CMake (about a minute on two cores)"
case "$(uname -s)" in
Darwin) rpath=@loader_path/../site/mlx/lib library=libmlx.dylib ;;
*) rpath='$ORIGIN/../site/mlx/lib' library=libmlx.so ;; # libmlxc's own: an executable's rpath does not reach libmlx
esac
# The wheel's own CMake files would ask for all that MLX was built with, such as
# NVIDIA's compiler. To build mlx-c takes headers and the library.
mkdir "$work/cmake"
cat >"$work/cmake/MLXConfig.cmake" <<-CMAKE
	add_library(mlx SHARED IMPORTED)
	set_target_properties(mlx PROPERTIES
	  IMPORTED_LOCATION "$new/site/mlx/lib/$library"
	  INTERFACE_INCLUDE_DIRECTORIES "$new/site/mlx/include")
CMAKE
{
	cmake -S "$work/mlx-sys-$MLX_C_VERSION/src/mlx-c" -B "$work/build" \
		-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
		-DMLX_C_BUILD_EXAMPLES=OFF -DMLX_C_USE_SYSTEM_MLX=ON \
		-DMLX_DIR="$work/cmake" \
		-DCMAKE_CXX_FLAGS="-include '$ROOT/scripts/format_shim.h'" \
		-DCMAKE_INSTALL_PREFIX="$new" -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_INSTALL_RPATH="$rpath" &&
		cmake --build "$work/build" --parallel "$(getconf _NPROCESSORS_ONLN)" &&
		cmake --install "$work/build"
} >"$CACHE/mlx/build.log" 2>&1 || fail "mlx-c does not build" "see $CACHE/mlx/build.log; its last lines:" "$(tail -n 5 "$CACHE/mlx/build.log")"

# Without a driver, a library for NVIDIA GPUs cannot even be loaded.
if [ "$backend" != cuda ]; then
	version=$(probe "$new/include" "$new/lib") || fail "the mlx-c just built does not run" "see $CACHE/mlx/probe/log"
	[ "$version" = "$MLX_VERSION" ] || fail "the mlx-c just built says MLX $version, not $MLX_VERSION"
fi
echo "$stamp" >"$new/stamp"
rm -rf "$prefix"
mv "$new" "$prefix"
rm -rf "$work"
write_env "$prefix/include" "$prefix/lib" "$prefix/site/mlx/include" "$prefix/site/mlx/lib" "$link"
say "MLX $MLX_VERSION ($backend), mlx-c $MLX_C_VERSION: built in .cache/mlx/$backend"
