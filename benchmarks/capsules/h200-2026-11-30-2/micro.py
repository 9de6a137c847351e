"""micro.py FOLDER[:limits[:names]] ...: times the units.json of each folder as nodes of a graph."""
import ctypes as C, glob, json, os, sys, sysconfig, concurrent.futures
import numpy as np
def lib(names):
    for n in names:
        try: return C.CDLL(n, mode=C.RTLD_GLOBAL)
        except OSError: pass
    raise SystemExit("no " + names[0])
rt = lib(["libnvrtc.so.13", *glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib/libnvrtc.so.13")])
cu = lib(["libcuda.so.1"])
def D(name, *a):
    if code := getattr(cu, name)(*a):
        text = C.c_char_p(); cu.cuGetErrorString(code, C.byref(text)); raise SystemExit(f"{name}: {code} {text.value}")
def compiled(text, limit):
    p, n = C.c_void_p(), C.c_size_t()
    rt.nvrtcCreateProgram(C.byref(p), text.encode(), b"u.cu", 0, None, None)
    o = [b"--device-as-default-execution-space", b"--gpu-architecture=sm_90a", b"--include-path=/usr/local/cuda/include"] + ([b"--maxrregcount=%d" % limit] if limit else [])
    if rt.nvrtcCompileProgram(p, len(o), (C.c_char_p * len(o))(*o)):
        rt.nvrtcGetProgramLogSize(p, C.byref(n)); log = C.create_string_buffer(n.value); rt.nvrtcGetProgramLog(p, log); return log.value.decode()[:600]
    rt.nvrtcGetCUBINSize(p, C.byref(n)); cubin = C.create_string_buffer(n.value); rt.nvrtcGetCUBIN(p, cubin); return cubin
context, stream, start, end = (C.c_void_p() for _ in range(4))
D("cuInit", 0); D("cuDevicePrimaryCtxRetain", C.byref(context), 0); D("cuCtxSetCurrent", context)
D("cuStreamCreate", C.byref(stream), 1); D("cuEventCreate", C.byref(start), 0); D("cuEventCreate", C.byref(end), 0)
SIZE = {"bfloat16": 2, "float32": 4, "uint32": 4, "int32": 4, "float16": 2, "uint8": 1}
def alloc(n):
    p = C.c_uint64(); D("cuMemAlloc_v2", C.byref(p), C.c_size_t(max(n, 256))); return p.value
def bf(a): return (a.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
rng = np.random.default_rng(1)
def data(t, unit):
    n = int(np.prod(t["Shape"])); name = t["Name"]; small = min(n, 1 << 22)
    if name == "idx": a = rng.permutation([x for x in unit["In"] if x["Name"] in ("w", "wg")][0]["Shape"][0])[:n].astype(np.uint32)
    elif t["Type"] == "uint32": a = rng.integers(0, 1 << 32, small, dtype=np.uint32)
    elif t["Type"] == "uint8": a = rng.integers(118, 124, small, dtype=np.uint8)
    else:
        x = rng.standard_normal(small).astype(np.float32)
        if name in ("scales", "sg", "su", "biases", "bg", "bu"): x *= 0.01
        a = bf(x) if t["Type"] == "bfloat16" else x
    b = a.view(np.uint8).reshape(-1); total = n * SIZE[t["Type"]]
    return np.tile(b, -(-total // b.size))[:total]
buffers, first = {}, {}
def inputs(unit):
    key = unit["Name"]
    if key in buffers: return buffers[key]
    copies = max(2, min(48, -(-200_000_000 // sum(int(np.prod(t["Shape"])) * SIZE[t["Type"]] for t in unit["In"])))); ins = []
    for t in unit["In"]:
        a = data(t, unit); ps = []
        for c in range(copies if a.size > 100_000 else 1):
            p = alloc(a.size); D("cuMemcpyHtoD_v2", C.c_uint64(p), a.ctypes.data_as(C.c_void_p), C.c_size_t(a.size)); ps.append(p)
        ins.append(ps)
    buffers[key] = ins, [alloc(int(np.prod(t["Shape"])) * SIZE[t["Type"]]) for t in unit["Out"]], copies
    return buffers[key]
def values(unit, outs):
    r = []
    for t, p in zip(unit["Out"], outs):
        h = np.zeros(int(np.prod(t["Shape"])) * SIZE[t["Type"]], np.uint8)
        D("cuMemcpyDtoH_v2", h.ctypes.data_as(C.c_void_p), C.c_uint64(p), C.c_size_t(h.size))
        r.append((h.view(np.uint16).astype(np.uint32) << 16).view(np.float32) if t["Type"] == "bfloat16" else h.view(np.float32) if t["Type"] == "float32" else h.view(np.uint32).astype(np.float64))
    return r
L = 192
def time(unit, cubin, tag):
    module, f, v = C.c_void_p(), C.c_void_p(), C.c_int()
    D("cuModuleLoadData", C.byref(module), cubin); D("cuModuleGetFunction", C.byref(f), module, unit["Fn"].encode())
    attr = lambda n: (cu.cuFuncGetAttribute(C.byref(v), n, f), v.value)[1]
    regs, local = attr(4), attr(3)
    cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(C.byref(v), f, int(np.prod(unit["Block"])), C.c_size_t(0)); occ = v.value
    ins, outs, copies = inputs(unit); keep = []
    def go(i):
        a = [C.c_uint64(ps[i % len(ps)]) for ps in ins] + [C.c_uint64(p) for p in outs]; keep.append(a)
        D("cuLaunchKernel", f, *unit["Grid"], *unit["Block"], 0, stream, (C.c_void_p * len(a))(*[C.cast(C.pointer(x), C.c_void_p) for x in a]), None)
    go(0); D("cuStreamSynchronize", stream)
    got, note = values(unit, outs), ""
    if unit["Name"] in first: note = "diff " + " ".join(f"{float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) + 1e-30)):.1e}" for a, b in zip(got, first[unit["Name"]]))
    else: first[unit["Name"]] = got
    if not all(np.isfinite(x).all() for x in got): note += " NOT FINITE"
    g, x = C.c_void_p(), C.c_void_p()
    D("cuStreamBeginCapture_v2", stream, 2)
    for i in range(L): go(i)
    D("cuStreamEndCapture", stream, C.byref(g)); D("cuGraphInstantiateWithFlags", C.byref(x), g, C.c_ulonglong(0)); took = []
    for _ in range(9):
        D("cuEventRecord", start, stream); D("cuGraphLaunch", x, stream); D("cuEventRecord", end, stream); D("cuStreamSynchronize", stream)
        ms = C.c_float(); D("cuEventElapsedTime_v2" if hasattr(cu, "cuEventElapsedTime_v2") else "cuEventElapsedTime", C.byref(ms), start, end); took.append(ms.value * 1000 / L)
    took = sorted(took[2:])
    print(f"{unit['Name']:22s} {tag:12s} {took[len(took)//2]:7.2f} us (least {took[0]:.2f})  regs {regs} local {local} groups/SM {occ} of {np.prod(unit['Grid'])/132:.1f}  {note}", flush=True)
    cu.cuGraphExecDestroy(x); cu.cuModuleUnload(module)
jobs = []
for a in sys.argv[1:]:
    folder, *limits = a.split(":")
    only = limits[1].split(",") if len(limits) > 1 else None
    for u in json.load(open(folder + "/units.json")):
        if only and not any(o in u["Name"] for o in only): continue
        jobs += [(u, os.path.basename(folder) + (f"/{l}" if l else ""), l) for l in ([int(x) for x in limits[0].split(",")] if limits and limits[0] else [0])]
jobs.sort(key=lambda j: j[0]["Name"])
with concurrent.futures.ThreadPoolExecutor(14) as ex:
    futures = [ex.submit(compiled, j[0]["Text"], j[2]) for j in jobs]
    for (u, tag, l), fu in zip(jobs, futures):
        c = fu.result()
        print(u["Name"], tag, c) if isinstance(c, str) else time(u, c, tag)
