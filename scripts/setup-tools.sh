#!/usr/bin/env bash
# Fetches the tools of `make test`, each by version: the linter, into .cache/bin (not
# in go.mod, since nothing of the project imports it), and into .cache/tools what
# checks kernel sources without a GPU: clang, which the Zig wheel carries as one
# program, and NVIDIA's run-time compiler with the headers that MLX gives it.
set -euo pipefail
. "$(dirname "$0")/common.sh"

lock tools

STATICCHECK=v0.8.2

need_go
# A linter reads only code of the Go version it was built with, or older.
stamp="staticcheck $STATICCHECK, $(go version)"
if [ "$(cat "$CACHE/bin/stamp" 2>/dev/null)" != "$stamp" ]; then
	say "staticcheck $STATICCHECK: building"
	mkdir -p "$CACHE/bin"
	GOBIN=$CACHE/bin go install "honnef.co/go/tools/cmd/staticcheck@$STATICCHECK"
	echo "$stamp" >"$CACHE/bin/stamp"
fi
say "staticcheck $STATICCHECK: ready in .cache/bin"

tools=$CACHE/tools
mkdir -p "$tools"

ZIG=0.13.0 # its clang is 18.1
stamp="recipe 1, ziglang $ZIG"
if [ "$(cat "$tools/zig.stamp" 2>/dev/null)" != "$stamp" ]; then
	need_python
	say "clang: fetching ziglang $ZIG"
	work=$tools/work
	rm -rf "$work"
	# Linux x86-64, arm64; macOS arm64
	file=$(wheel "$work" "ziglang==$ZIG" 3ce0c9f16547e5d61b32e0d226926e9a2552ef4b91fccf7ab5ea1a623a77824b \
		5714a4d46f9246ba6180a0930e23df2bc8bc26e62b5fe0dc798b4afca1903308 5408ad3a6cb342fb4e4e2351a3725adfcae82eaadebe85fdbbdad9c0ac8b1e24)
	python3 - "$file" "$tools/zig" <<-'PYTHON'
		import shutil, sys, zipfile
		with zipfile.ZipFile(sys.argv[1]) as z, z.open("ziglang/zig") as program, open(sys.argv[2], "wb") as out:
		    shutil.copyfileobj(program, out)
	PYTHON
	chmod +x "$tools/zig"
	rm -rf "$work"
	echo "$stamp" >"$tools/zig.stamp"
fi
say "clang (ziglang $ZIG): ready in .cache/tools"

# The versions are those of scripts/setup-mlx.sh: the kernels are compiled as MLX will.
MLX=0.32.2 CUDA=13.5.37
stamp="recipe 1, mlx-cuda-13 $MLX, CUDA $CUDA"
if [ "$(uname -s)" != Linux ]; then
	say "NVRTC: there is none for $(uname -s); kernels are not compiled for NVIDIA"
elif [ "$(cat "$tools/cuda/stamp" 2>/dev/null)" != "$stamp" ]; then
	need_python
	say "NVRTC: fetching CUDA $CUDA and the headers of mlx-cuda-13 $MLX"
	work=$tools/work
	rm -rf "$work"
	# x86-64, arm64
	nvrtc=$(wheel "$work/nvrtc" "nvidia-cuda-nvrtc==$CUDA" 86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc \
		36e4fa2a8ada293f5693d308e531c196ab6f91cf7a0ff479bf96a537d43a6096)
	runtime=$(wheel "$work/runtime" "nvidia-cuda-runtime==$CUDA" df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d \
		de2dc5a7367974228b0a69588a9acc9340d3768bef1bf38bf0801eb08497cd2d)
	mlx=$(wheel "$work/mlx" "mlx-cuda-13==$MLX" 335094ccd1c0c6dc3e09c8caba207c8180602bacc0c38ba20c1d81e9456ab394 \
		49b1a25df9021f3b519a534fd39a32a5cdbf93a1b265a31e59671c2d9fc9f4a2)
	python3 - "$work/new" "$nvrtc" "$runtime" "$mlx" <<-'PYTHON'
		import hashlib, os, re, sys, zipfile

		out, nvrtc, runtime, mlx = sys.argv[1:]

		def write(name, data):
		    path = os.path.join(out, name)
		    os.makedirs(os.path.dirname(path), exist_ok=True)
		    with open(path, "wb") as f:
		        f.write(data)

		def unpack(wheel, folder, to):
		    with zipfile.ZipFile(wheel) as z:
		        for name in z.namelist():
		            if name.startswith(folder) and not name.endswith("/"):
		                write(to + name[len(folder):], z.read(name))

		unpack(nvrtc, "nvidia/cu13/lib/libnvrtc", "lib/libnvrtc")
		unpack(runtime, "nvidia/cu13/include/", "include/")
		unpack(mlx, "mlx/include/cccl/", "cccl/")

		# The headers that come before every custom kernel are text in MLX's library.
		headers = {
		    "ac2ea54d04b960095c1fe0d7aee17e3a0a3f93c6ce392290a38ff13e16a409c9": "utils.cuh",
		    "05d4074bfd19d50620be5aad113b432a3955be8c9afee909e958d74ad8f04544": "config.h",
		    "58e6ee4092a507d51b81fb2187f7400f424dc4e61dc7c5bba0f6553f6dbdc5c2": "complex.cuh",
		}
		with zipfile.ZipFile(mlx) as z:
		    library = z.read("mlx/lib/libmlx.so")
		for text in re.findall(rb"[^\0]{200,100000}", library):
		    name = headers.pop(hashlib.sha256(text).hexdigest(), None)
		    if name:
		        write("mlx/mlx/backend/cuda/device/" + name, text)
		if headers:
		    sys.exit("libmlx.so does not hold " + ", ".join(headers.values()))
	PYTHON
	rm -rf "$tools/cuda"
	mv "$work/new" "$tools/cuda"
	rm -rf "$work"
	echo "$stamp" >"$tools/cuda/stamp"
fi
[ ! -f "$tools/cuda/stamp" ] || say "NVRTC (CUDA $CUDA): ready in .cache/tools"
