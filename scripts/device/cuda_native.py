#!/usr/bin/env python3
"""Gives a library with CUDA kernels machine code for one GPU in place of what it carries.

    python3 scripts/device/cuda_native.py IN.so OUT.so --sm 90 --ptxas PTXAS --fatbinary FATBINARY --cache FOLDER [--ptx 9.0] [--jobs 2]

A prebuilt library often has PTX alone for a data-centre GPU. A driver compiles that when it is
loaded, but none that is newer than itself: PTX 9.1 (CUDA 13.1) is refused by a driver of
CUDA 13.0. So each fat binary's PTX for the GPU is assembled here, by the ptxas of the driver's
CUDA, and takes the place of all images in it; what is left over of the place is zeros, which
pack well. --ptx is the version that PTX is said to have: ptxas refuses one that really needs more.
"""

import argparse
import concurrent.futures
import hashlib
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, 16)  # of a fat binary: magic, version, length of its header
PTX = 1


def fat_binaries(data):
    at = 0
    while (at := data.find(MAGIC, at)) >= 0:
        end = at + 16 + struct.unpack_from("<Q", data, at + 8)[0]
        yield at, end
        at = end


def images(data, at, end):
    """kind, sm, flags and bytes of each image."""
    at += 16
    while at < end:
        kind, _, head, size, packed = struct.unpack_from("<HHIQI", data, at)
        sm, = struct.unpack_from("<I", data, at + 28)
        flags, unpacked = struct.unpack_from("<Q8xQ", data, at + 40)
        body = data[at + head : at + head + (packed or size)]
        yield kind, sm, flags, body, unpacked
        at += head + size


def text(flags, body, unpacked):
    if flags & 0x8000:
        body = subprocess.run(["zstd", "-dc"], input=body, stdout=subprocess.PIPE, check=True).stdout
    elif flags & 0x2000:
        raise SystemExit("images packed with LZ4 are not read")
    if unpacked and len(body) != unpacked:
        raise SystemExit(f"an image unpacks to {len(body)} bytes, not {unpacked}")
    return body.rstrip(b"\0")


def native(ptx, args):
    """The fat binary with machine code of this PTX."""
    name = hashlib.sha256(ptx).hexdigest()[:32] + f"-sm_{args.sm}"
    cubin = args.cache / (name + ".cubin")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if not cubin.exists():
            (folder / "in.ptx").write_bytes(ptx)
            done = subprocess.run([args.ptxas, f"-arch=sm_{args.sm}", "-m64", folder / "in.ptx", "-o", folder / "out.cubin"], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"ptxas: {done.stderr[:2000]}")
            shutil.copy(folder / "out.cubin", args.cache / (name + ".part"))
            (args.cache / (name + ".part")).rename(cubin)
        made = []
        for flags in [], ["--compress-all"]:
            out = folder / "out.fatbin"
            subprocess.run([args.fatbinary, "-64", *flags, f"--create={out}", f"--image3=kind=elf,sm={args.sm},file={cubin}"], check=True)
            made.append(out.read_bytes())
        return made


def main():
    p = argparse.ArgumentParser()
    p.add_argument("library", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--sm", type=int, required=True)
    p.add_argument("--ptxas", required=True)
    p.add_argument("--fatbinary", required=True)
    p.add_argument("--cache", type=pathlib.Path, required=True)
    p.add_argument("--ptx", default="9.0")
    p.add_argument("--jobs", type=int, default=2)
    args = p.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    data = args.library.read_bytes()
    places, texts = [], []
    for at, end in fat_binaries(data):
        found = [text(*rest) for kind, sm, *rest in images(data, at, end) if kind == PTX and sm == args.sm]
        if len(found) != 1:
            raise SystemExit(f"the fat binary at {at} has {len(found)} texts for sm_{args.sm}")
        places.append((at, end))
        texts.append(re.sub(rb"\A(\s*(?://[^\n]*\n\s*)*)\.version [0-9.]+", rb"\g<1>.version " + args.ptx.encode(), found[0], count=1))
    if not places:
        raise SystemExit("no fat binary in it")
    data = bytearray(data)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for (at, end), made in zip(places, pool.map(lambda t: native(t, args), texts)):
            fits = [m for m in made if len(m) <= end - at]
            if not fits:
                raise SystemExit(f"machine code of {min(map(len, made))} bytes does not fit into the fat binary at {at}")
            data[at:end] = fits[0] + bytes(end - at - len(fits[0]))
    args.out.write_bytes(data)
    print(f"{args.out.name}: {len(places)} fat binaries for sm_{args.sm}", file=sys.stderr)


main()
