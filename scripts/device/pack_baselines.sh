#!/usr/bin/env bash
# Packs what zmlx-rewrite is compared with on a machine with an NVIDIA GPU, beside pack.sh's
# folders and small enough for one more call:
#
#     scripts/device/pack_baselines.sh                     # here
#     bash scripts/device/unpack_baselines.sh .device/3    # there, after unpack.sh
#
# mlx-lm as a wheel, and MLX's Python module, which takes libmlx.so from pack.sh. llama.cpp as
# node-llama-cpp publishes it, with CUDA: for an H100 or H200 it has PTX alone, of a CUDA newer
# than the driver there, so that cuda_native.py assembles it here (ten minutes, once). Its own
# llama-bench and llama-batched-bench are compiled from the source of the same release, which comes with node-llama-cpp.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

MLX=0.32.2           # that of setup-mlx.sh
MLX_LM=0.32.0        # that of the oracle
NODE_LLAMA_CPP=3.22.1 # llama.cpp v0.5.0
mlx_sha256=8d270ade1e48e006383a6b5f33a3a4ec5c265389299a60a60bf55165af1770d9
mlx_lm_sha256=9a0f3843135fd88d36ad791f0d82210cdc4130c5c1cb5416f5f0c4b56a135778
cuda_sha256=d6cd3ff39a43b024816952e0bc6452d6711608d26256ff6eb0fe8cf7ff55bb2c
source_sha256=a0d9dd80eacd2ab1cfe71aee57ac8a806487fd70b3d2a38fbec637752d9e5c5f
NVCC=13.0.88    # that of the driver there; its ptxas reads no PTX that the driver would not
RUNTIME=13.1.80 # what llama.cpp was linked with
nvcc_sha256=56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
runtime_sha256=dac25b52e69050e5a7a84957e6df470a85b185f8f648a99a1ab1dfce027576cf
SM=90

[ "$(uname -sm)" = "Linux x86_64" ] || fail "this packs programs for Linux on x86-64, and runs some of them" "run it on such a machine"
command -v npm >/dev/null || fail "npm is missing" "get it: $(how npm)"
command -v zstd >/dev/null || fail "zstd is missing" "get it: $(how zstd)"
need_python
need_cxx
dir=$CACHE/device/baselines
out=$ROOT/.device/3
mkdir -p "$dir" "$out"
lock device/baselines
stamp="recipe 2, mlx $MLX, mlx-lm $MLX_LM, node-llama-cpp $NODE_LLAMA_CPP, ptxas $NVCC, sm_$SM"
if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
	# wheel312 NAME==VERSION SHA256: a wheel for Python 3.12, whatever runs here.
	wheel312() {
		printf '%s --hash=sha256:%s\n' "$1" "$2" >"$dir/requirements.txt"
		python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement "$dir/requirements.txt" \
			--python-version 3.12 --implementation cp --platform manylinux_2_35_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --dest "$dir/wheels" >&2 ||
			fail "cannot download $1" "see pip's message above"
	}
	# package NAME SHA256 FOLDER: unpacks a package of npm.
	package() {
		local file
		file=$(cd "$dir" && npm pack --silent "$1@$NODE_LLAMA_CPP") || fail "cannot download $1" "see npm's message above"
		check "$dir/$file" "$2"
		mkdir -p "$3"
		tar -C "$3" -xzf "$dir/$file"
		rm "$dir/$file"
	}
	say "mlx-lm, CUDA's assembler"
	rm -rf "$dir/wheels" "$dir/python" "$dir/nvcc" "$dir/cuda" "$dir/source" "$dir/llama"
	wheel312 "mlx==$MLX" $mlx_sha256
	wheel312 "mlx-lm==$MLX_LM" $mlx_lm_sha256
	wheel312 "nvidia-cuda-nvcc==$NVCC" $nvcc_sha256
	wheel312 "nvidia-cuda-runtime==$RUNTIME" $runtime_sha256
	python3 -m zipfile -e "$dir"/wheels/mlx-*.whl "$dir/python"
	python3 -m zipfile -e "$dir"/wheels/mlx_lm-*.whl "$dir/python"
	python3 -m zipfile -e "$dir"/wheels/nvidia_cuda_nvcc-*.whl "$dir/nvcc"
	python3 -m zipfile -e "$dir"/wheels/nvidia_cuda_runtime-*.whl "$dir/nvcc"
	chmod +x "$dir"/nvcc/nvidia/cu13/bin/*

	say "llama.cpp"
	package @node-llama-cpp/linux-x64-cuda $cuda_sha256 "$dir/cuda"
	package node-llama-cpp $source_sha256 "$dir/source"
	git clone --quiet "$dir/source/package/llama/gitRelease.bundle" "$dir/source/llama.cpp" 2>/dev/null || fail "the source of llama.cpp cannot be unpacked" "see $dir/source"
	built=$dir/cuda/package/bins/linux-x64-cuda
	mkdir -p "$dir/llama"
	for cpu in x64 haswell skylakex icelake sapphirerapids zen4; do cp "$built/libggml-cpu-$cpu.so" "$dir/llama/"; done
	cp "$built"/libllama*.so "$built"/libggml-base.so "$built"/libggml.*.so "$dir/nvcc/nvidia/cu13/lib/libcudart.so.13" "$dir/llama/"
	src=$dir/source/llama.cpp
	"${CXX:-c++}" -O2 -DNDEBUG -std=c++17 -I"$src/include" -I"$src/common" -I"$src/ggml/include" -I"$src/vendor" -I"$src/tools/llama-bench" \
		"$src"/tools/llama-bench/*.cpp -o "$dir/llama/llama-bench" "$dir"/llama/libllama*.so "$dir"/llama/libggml.*.so "$dir/llama/libggml-base.so" "-Wl,-rpath,\$ORIGIN"
	"${CXX:-c++}" -O2 -DNDEBUG -std=c++17 -I"$src/include" -I"$src/common" -I"$src/ggml/include" -I"$src/vendor" \
		"$src"/tools/batched-bench/*.cpp -o "$dir/llama/llama-batched-bench" "$dir"/llama/libllama*.so "$dir"/llama/libggml.*.so "$dir/llama/libggml-base.so" "-Wl,-rpath,\$ORIGIN"
	say "assembling llama.cpp's kernels for sm_$SM (ten minutes on two cores)"
	python3 scripts/device/cuda_native.py "$built/libggml-cuda.so" "$dir/llama/libggml-cuda.so" --sm $SM --cache "$dir/cubins" --jobs "$(nproc)" \
		--ptxas "$dir/nvcc/nvidia/cu13/bin/ptxas" --fatbinary "$dir/nvcc/nvidia/cu13/bin/fatbinary"
	say "packing"
	tar -C "$dir" -cf - llama python | xz -T0 -6 >"$dir/baselines.tar.xz"
	rm -rf "$dir/source" "$dir/cuda" "$dir/nvcc" "$dir/wheels"
	echo "$stamp" >"$dir/stamp"
fi
cp "$dir/baselines.tar.xz" "$out/"
du -sh "$out"
