"""Times chain.cu on a machine with an NVIDIA GPU of compute capability 9.0 and NVRTC: python3 chain.py"""

import ctypes as C
import glob
import os
import sysconfig


def lib(names):
    for n in names:
        try:
            return C.CDLL(n, mode=C.RTLD_GLOBAL)
        except OSError:
            pass
    raise SystemExit("no " + names[0])


rt = lib(["libnvrtc.so.13", "libnvrtc.so.12", *glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib/libnvrtc.so.1?")])
cu = lib(["libcuda.so.1"])


def D(name, *a):  # noqa: N802
    if code := getattr(cu, name)(*a):
        text = C.c_char_p()
        cu.cuGetErrorString(code, C.byref(text))
        raise SystemExit(f"{name}: {code} {text.value}")


def compiled():
    source = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "chain.cu"), "rb").read()
    program, n = C.c_void_p(), C.c_size_t()
    rt.nvrtcCreateProgram(C.byref(program), source, b"chain.cu", 0, None, None)
    if rt.nvrtcCompileProgram(program, 1, (C.c_char_p * 1)(b"--gpu-architecture=sm_90a")):
        rt.nvrtcGetProgramLogSize(program, C.byref(n))
        log = C.create_string_buffer(n.value)
        rt.nvrtcGetProgramLog(program, log)
        raise SystemExit(log.value.decode())
    rt.nvrtcGetCUBINSize(program, C.byref(n))
    cubin = C.create_string_buffer(n.value)
    rt.nvrtcGetCUBIN(program, cubin)
    return cubin


class P(C.Structure):
    _fields_ = [("w", C.c_uint64), ("x", C.c_uint64), ("y", C.c_uint64)]


class Attr(C.Structure):
    _fields_ = [("id", C.c_int), ("pad", C.c_char * 4), ("value", C.c_char * 64)]


class Config(C.Structure):
    _fields_ = [("grid", C.c_uint * 3), ("block", C.c_uint * 3), ("shared", C.c_uint), ("stream", C.c_void_p), ("attrs", C.POINTER(Attr)), ("n", C.c_uint)]


STAGES, MATRIX, ROW = 384, 2048 * 2304, 2048 * 4
context, module, stream, start, end = (C.c_void_p() for _ in range(5))
D("cuInit", 0)
D("cuDevicePrimaryCtxRetain", C.byref(context), 0)
D("cuCtxSetCurrent", context)
D("cuModuleLoadData", C.byref(module), compiled())
D("cuStreamCreate", C.byref(stream), 1)
D("cuEventCreate", C.byref(start), 0)
D("cuEventCreate", C.byref(end), 0)


def function(name):
    f, registers = C.c_void_p(), C.c_int()
    D("cuModuleGetFunction", C.byref(f), module, name.encode())
    cu.cuFuncGetAttribute(C.byref(registers), 4, f)
    print(name, "registers", registers.value)
    return f


def alloc(n):
    p = C.c_uint64()
    D("cuMemAlloc_v2", C.byref(p), C.c_size_t(n))
    return p.value


def launch(f, groups, args, programmatic=False, block=256):
    pointers = (C.c_void_p * len(args))(*[C.cast(C.pointer(a), C.c_void_p) for a in args])
    attr = Attr(id=6, value=b"\x01")  # CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    config = Config((C.c_uint * 3)(groups, 1, 1), (C.c_uint * 3)(block, 1, 1), 0, stream, C.pointer(attr), 1 if programmatic else 0)
    D("cuLaunchKernelEx", C.byref(config), f, pointers, None)


def graph(body):
    g, x = C.c_void_p(), C.c_void_p()
    D("cuStreamBeginCapture_v2", stream, 2)
    body()
    D("cuStreamEndCapture", stream, C.byref(g))
    D("cuGraphInstantiateWithFlags", C.byref(x), g, C.c_ulonglong(0))
    return lambda: D("cuGraphLaunch", x, stream)


def timed(name, f, runs=15):
    took = []
    for _ in range(runs + 3):
        D("cuMemsetD32Async", C.c_uint64(barrier), 0, C.c_size_t(1024), stream)
        D("cuEventRecord", start, stream)
        f()
        D("cuEventRecord", end, stream)
        D("cuStreamSynchronize", stream)
        ms = C.c_float()
        D("cuEventElapsedTime_v2" if hasattr(cu, "cuEventElapsedTime_v2") else "cuEventElapsedTime", C.byref(ms), start, end)
        took.append(ms.value * 1000)
    took = sorted(took[3:])
    print(f"{name:50s} {took[len(took) // 2] / STAGES:8.3f} us a stage  (least {took[0] / STAGES:.3f})", flush=True)


w, y, barrier = alloc(STAGES * MATRIX), alloc((STAGES + 1) * ROW), alloc(4096)
D("cuMemsetD32_v2", C.c_uint64(w), 0x37512964, C.c_size_t(STAGES * MATRIX // 4))
D("cuMemsetD32_v2", C.c_uint64(y), 0x3F800000, C.c_size_t((STAGES + 1) * ROW // 4))
stages = (P * STAGES)(*[P(w + i * MATRIX, y + i * ROW, y + (i + 1) * ROW) for i in range(STAGES)])
table = alloc(C.sizeof(stages))
D("cuMemcpyHtoD_v2", C.c_uint64(table), stages, C.c_size_t(C.sizeof(stages)))
K = {n: function(n) for n in ["one", "pdl", "nothing", "barriers", "whole"]}
for groups, block in [(1, 32), (128, 256), (384, 128)]:
    timed(f"graph of empty kernels, {groups} x {block}", graph(lambda: [launch(K["nothing"], groups, [s], block=block) for s in stages]))  # noqa: B023
    timed(f"graph of empty kernels, programmatic, {groups} x {block}", graph(lambda: [launch(K["nothing"], groups, [s], True, block) for s in stages]))  # noqa: B023
for groups in (128, 132, 264, 528):
    timed(f"barriers, {groups} groups", lambda: launch(K["barriers"], groups, [C.c_uint64(barrier), C.c_int(STAGES)]))  # noqa: B023
timed("graph, 4.7 MB a stage", graph(lambda: [launch(K["one"], 128, [s]) for s in stages]))
timed("graph, programmatic, weights first", graph(lambda: [launch(K["pdl"], 128, [s], True) for s in stages]))
for mode, what in [(1, "no prefetch"), (2, "next weights to registers"), (3, "L2 3 ahead"), (4, "registers and L2 3 ahead")]:
    timed("one launch, " + what, lambda: launch(K["whole"], 128, [C.c_uint64(table), C.c_int(STAGES), C.c_uint64(barrier), C.c_int(mode)]))  # noqa: B023
