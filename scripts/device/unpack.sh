#!/usr/bin/env bash
# Runs on the machine with the GPU: puts one of pack.sh's folders into /tmp/zmlx, and after
# the second one writes /tmp/zmlx/env.sh, by which zmlx-rewrite runs there.
set -euo pipefail
from=$1
to=/tmp/zmlx
mkdir -p "$to/mlx/lib" "$to/bin"
[ ! -f "$from/libmlx.part1" ] || cp "$from/libmlx.part1" "$to/"
[ -f "$from/libmlx.part2" ] || exit 0
cp "$from/libmlx.part2" "$to/"
cat "$to/libmlx.part1" "$to/libmlx.part2" | xz -d >"$to/mlx/lib/libmlx.so"
cp "$from/libmlxc.so" "$to/mlx/lib/"
tar -C "$to" -xJf "$from/rest.tar.xz"
xz -dc "$from/zmlx-rewrite.xz" >"$to/bin/zmlx-rewrite"
chmod +x "$to/bin/zmlx-rewrite"
# What was compiled there before: save.sh brought it back.
mkdir -p "$to/cache"
[ ! -f "$from/cache.tar.xz" ] || tar -C "$to/cache" -xJf "$from/cache.tar.xz"
libs=$(python3 - <<'PY'
import glob, os, sysconfig
site = sysconfig.get_paths()["purelib"]
print(":".join(sorted(glob.glob(os.path.join(site, "nvidia", "*", "lib")))))
PY
)
cat >"$to/env.sh" <<ENV
export LD_LIBRARY_PATH=$to/mlx/lib:$to/mlx_cuda_13.libs:$libs:\${LD_LIBRARY_PATH:-}
export CUDA_HOME=\${CUDA_HOME:-/usr/local/cuda}
export PATH=$to/bin:\$PATH
export MLX_PTX_CACHE_DIR=$to/cache/ptx XDG_CACHE_HOME=$to/cache
export ZMLX_FIRST_USE=off
ENV
