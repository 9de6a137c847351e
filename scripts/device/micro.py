#!/usr/bin/env python3
"""Times single kernels as they run in a step: nodes of a CUDA graph, with weights that no cache holds.

    go run ./scripts/device/units .device/exp/now              # here: the kernels as they are
    go run ./scripts/device/units .device/exp/new /tmp/new     # and with those of a folder over them
    python3 scripts/device/micro.py .device/exp/now .device/exp/new[:LIMITS[:NAMES]] ...   # there, 10 s for 100 units

LIMITS are numbers of registers a thread, NAMES parts of units' names, with commas. It needs NumPy,
NVRTC and CUDA's headers (of CUDA or of pip's wheels), and a driver, and neither MLX nor Go. Texts are
for compute capability 9.0. "diff" is the largest difference of each result from that
of the first folder, as a part of the largest number in it.
"""

import concurrent.futures
import ctypes as C
import glob
import json
import os
import sys
import sysconfig

import numpy as np

LAUNCHES = 192  # of a graph
COLD = 200_000_000  # bytes of copies that weights are read from in turn: four times an H200's cache
HEADERS = [d for d in ["/usr/local/cuda/include", *glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/include")] if os.path.exists(d + "/cuda_fp16.h")]
ITEM = {"bfloat16": 2, "float16": 2, "float32": 4, "uint32": 4, "int32": 4, "uint8": 1}


def library(*names):
    for name in names:
        try:
            return C.CDLL(name, mode=C.RTLD_GLOBAL)
        except OSError:
            pass
    sys.exit(f"micro.py: there is no {names[0]}")


nvrtc = library("libnvrtc.so.13", "libnvrtc.so.12", *glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib/libnvrtc.so.13"))
cuda = library("libcuda.so.1")


def do(name, *args):
    code = getattr(cuda, name)(*args)
    if code:
        text = C.c_char_p()
        cuda.cuGetErrorString(code, C.byref(text))
        sys.exit(f"micro.py: {name}: {code} {text.value}")


def compiled(text, limit):
    """The cubin of a text, or what is wrong with it."""
    program, size = C.c_void_p(), C.c_size_t()
    nvrtc.nvrtcCreateProgram(C.byref(program), text.encode(), b"u.cu", 0, None, None)
    options = [b"--device-as-default-execution-space", b"--gpu-architecture=sm_90a", *(b"--include-path=" + d.encode() for d in HEADERS)]
    if limit:
        options.append(b"--maxrregcount=%d" % limit)
    if nvrtc.nvrtcCompileProgram(program, len(options), (C.c_char_p * len(options))(*options)):
        nvrtc.nvrtcGetProgramLogSize(program, C.byref(size))
        log = C.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        return log.value.decode()[:600]
    nvrtc.nvrtcGetCUBINSize(program, C.byref(size))
    cubin = C.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, cubin)
    return cubin


def elements(t):
    return int(np.prod(t["Shape"] or []))


def alloc(size):
    p = C.c_uint64()
    do("cuMemAlloc_v2", C.byref(p), C.c_size_t(max(size, 256)))
    return p.value


def content(t, unit, rng):
    """Bytes of an operand: a few million numbers, again and again."""
    n, kind, name = elements(t), t["Type"], t["Name"]
    some = min(n, 1 << 22)
    if t.get("Fill") is not None:
        a = np.full(some, t["Fill"], np.int32)
    elif name == "idx":
        experts = next(x for x in unit["In"] if x["Name"] in ("w", "wg"))["Shape"][0]
        a = rng.permutation(experts)[:n].astype(np.uint32)
    elif kind == "uint32":
        a = rng.integers(0, 1 << 32, some, dtype=np.uint32)
    elif kind == "uint8":  # exponents of scales
        a = rng.integers(118, 124, some, dtype=np.uint8)
    else:
        x = rng.standard_normal(some).astype(np.float32)
        if name in ("scales", "sg", "su", "biases", "bg", "bu"):
            x *= 0.01
        a = (x.view(np.uint32) >> 16).astype(np.uint16) if kind == "bfloat16" else x
    b = a.view(np.uint8).reshape(-1)
    size = n * ITEM[kind]
    return np.tile(b, -(-size // b.size))[:size]


class Bench:
    def __init__(self):
        self.stream, self.start, self.end, context = (C.c_void_p() for _ in range(4))
        do("cuInit", 0)
        do("cuDevicePrimaryCtxRetain", C.byref(context), 0)
        do("cuCtxSetCurrent", context)
        do("cuStreamCreate", C.byref(self.stream), 1)
        do("cuEventCreate", C.byref(self.start), 0)
        do("cuEventCreate", C.byref(self.end), 0)
        processors = C.c_int()
        do("cuDeviceGetAttribute", C.byref(processors), 16, 0)
        self.processors = processors.value
        self.rng = np.random.default_rng(1)
        self.buffers, self.first = {}, {}

    def operands(self, unit):
        """Addresses of each operand, several of what is large, and of the results."""
        if unit["Name"] not in self.buffers:
            size = sum(elements(t) * ITEM[t["Type"]] for t in unit["In"])
            copies = max(2, min(LAUNCHES, -(-COLD // size)))
            ins = []
            for t in unit["In"]:
                data, places = content(t, unit, self.rng), []
                chooses = t["Name"] in ("logits", "idx")  # other experts in each launch: few are read at a time
                for i in range(LAUNCHES if chooses else copies if data.size > 10_000 else 1):
                    if chooses and i > 0:
                        data = content(t, unit, self.rng)
                    places.append(alloc(data.size))
                    do("cuMemcpyHtoD_v2", C.c_uint64(places[-1]), data.ctypes.data_as(C.c_void_p), C.c_size_t(data.size))
                ins.append(places)
            self.buffers[unit["Name"]] = ins, [alloc(elements(t) * ITEM[t["Type"]]) for t in unit["Out"]]
        return self.buffers[unit["Name"]]

    def results(self, unit, outs):
        all = []
        for t, p in zip(unit["Out"], outs):
            host = np.zeros(elements(t) * ITEM[t["Type"]], np.uint8)
            do("cuMemcpyDtoH_v2", host.ctypes.data_as(C.c_void_p), C.c_uint64(p), C.c_size_t(host.size))
            if t["Type"] == "bfloat16":
                all.append((host.view(np.uint16).astype(np.uint32) << 16).view(np.float32))
            else:
                all.append(host.view({"float32": np.float32, "float16": np.float16}.get(t["Type"], np.uint32)).astype(np.float64))
        return all

    def time(self, unit, cubin, tag):
        module, function, v = C.c_void_p(), C.c_void_p(), C.c_int()
        do("cuModuleLoadData", C.byref(module), cubin)
        do("cuModuleGetFunction", C.byref(function), module, unit["Fn"].encode())

        def attribute(n):
            do("cuFuncGetAttribute", C.byref(v), n, function)
            return v.value

        registers, local = attribute(4), attribute(3)
        do("cuOccupancyMaxActiveBlocksPerMultiprocessor", C.byref(v), function, int(np.prod(unit["Block"])), C.c_size_t(0))
        groups = v.value
        ins, outs = self.operands(unit)
        keep = []  # what a captured launch points to

        def launch(i):
            args = [C.c_uint64(places[i % len(places)]) for places in ins] + [C.c_uint64(p) for p in outs]
            keep.append(args)
            pointers = (C.c_void_p * len(args))(*[C.cast(C.pointer(x), C.c_void_p) for x in args])
            do("cuLaunchKernel", function, *unit["Grid"], *unit["Block"], 0, self.stream, pointers, None)

        launch(0)
        do("cuStreamSynchronize", self.stream)
        got, note = self.results(unit, outs), ""
        if unit["Name"] in self.first:
            note = "diff " + " ".join(f"{np.max(np.abs(a - b)) / (np.max(np.abs(b)) + 1e-30):.1e}" for a, b in zip(got, self.first[unit["Name"]]))
        else:
            self.first[unit["Name"]] = got
        if not all(np.isfinite(x).all() for x in got):
            note += " NOT FINITE"
        graph, run = C.c_void_p(), C.c_void_p()
        do("cuStreamBeginCapture_v2", self.stream, 2)
        for i in range(LAUNCHES):
            launch(i)
        do("cuStreamEndCapture", self.stream, C.byref(graph))
        do("cuGraphInstantiateWithFlags", C.byref(run), graph, C.c_ulonglong(0))
        elapsed = "cuEventElapsedTime_v2" if hasattr(cuda, "cuEventElapsedTime_v2") else "cuEventElapsedTime"
        took = []
        for _ in range(9):
            do("cuEventRecord", self.start, self.stream)
            do("cuGraphLaunch", run, self.stream)
            do("cuEventRecord", self.end, self.stream)
            do("cuStreamSynchronize", self.stream)
            ms = C.c_float()
            do(elapsed, C.byref(ms), self.start, self.end)
            took.append(ms.value * 1000 / LAUNCHES)
        took = sorted(took[2:])  # the first warm up
        each = np.prod(unit["Grid"]) / self.processors
        print(f"{unit['Name']:20s} {tag:12s} {took[len(took) // 2]:7.2f} us (least {took[0]:.2f})  registers {registers} local {local} groups {groups} of {each:.1f}  {note}", flush=True)
        do("cuGraphExecDestroy", run)
        do("cuModuleUnload", module)


def main():
    jobs = []
    for arg in sys.argv[1:]:
        folder, limits, names, *_ = arg.split(":") + ["", ""]
        with open(os.path.join(folder, "units.json")) as f:
            units = json.load(f)
        for unit in units:
            if names and not any(name in unit["Name"] for name in names.split(",")):
                continue
            for limit in limits.split(",") if limits else [""]:
                jobs.append((unit, os.path.basename(folder) + (f"/{limit}" if limit else ""), int(limit or 0)))
    if not jobs:
        sys.exit(__doc__)
    jobs.sort(key=lambda job: job[0]["Name"])
    bench = Bench()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        cubins = [pool.submit(compiled, unit["Text"], limit) for unit, _, limit in jobs]
        for (unit, tag, _), cubin in zip(jobs, cubins):
            if isinstance(cubin.result(), str):
                print(unit["Name"], tag, cubin.result())
            else:
                bench.time(unit, cubin.result(), tag)


if __name__ == "__main__":
    main()
