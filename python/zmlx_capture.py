#!/usr/bin/env python3
"""Capture a model as a .mlxfn file that `zmlx-rewrite import` reads.

    python zmlx_capture.py MODEL --out model.mlxfn
    python zmlx_capture.py MODEL --out model.mlxfn --shapes 1x1,2x1,3x1,2x5,3x9

MODEL is a folder or a Hugging Face name that mlx-lm loads. For each shape (batch x
tokens, or batch x tokens x capacity of the caches) MLX records one step of the model:

    logits, state' = step(tokens, offset, state, weights)

The caches are inputs and results of the step, the number of rows that they hold is
an input, and the weights are keyword arguments under their parameters' names. So the
file holds no weights, and no number in it belongs to one moment of a conversation.

Before a file is written, each recorded step runs, on the CPU, on random tokens and a
random state that fills the caches, beside the model itself with mlx-lm's own
caches. The logits and the caches must agree in every bit; if they do not, there is no
file, and the message names what differs. Caches behind a sliding window are rings, as
mlx-lm keeps them; where the next row goes, window_offset, is one more input.

One shape gives a program for that shape only. `zmlx-rewrite import` makes
dimensions of what changes from shape to shape: it needs two shapes of each kind (one
token, several, many where experts sort them) that differ in batch, length and
capacity, and the program is for what lies between two shapes of one kind.

From Python, for any module or function of MLX arrays:

    import zmlx_capture
    zmlx_capture.capture_module(block, "block.mlxfn", [(x1,), (x2,)], names=["x"])
    zmlx_capture.capture_model(model, "model.mlxfn", [(1, 1, 32), (2, 5, 64)])

Needs mlx 0.32.1 or later; mlx-lm only to load MODEL and for models with caches.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import sys
import tempfile

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

FORMAT = 1  # of the metadata, which zmlx-rewrite reads

# What --shapes is if left out: each kind of step at two batches and lengths at least; one
# token, several, and so many that mlx-lm sorts them by the experts that they go to (from
# 64 chosen experts on).
SHAPES = "1x1x32,2x1x48,3x1x64,1x2x32,2x3x48,2x16x48,3x17x64"

class CaptureError(Exception):
    """The model cannot be captured, or what was captured is not the model."""


# Caches. Each kind of cache of mlx-lm has a twin that lives in a trace: made of arrays,
# it is used by the model like the other one and returns the arrays that came of it.


class At:
    """Where a step stands. Of the step that is recorded both are arrays.

    offset: tokens before it, and so the row of a KVCache that is written first
    window_offset: the row of a RotatingKVCache that is written first
    """

    def __init__(self, offset, window_offset=None):
        self.offset, self.window_offset = offset, window_offset


class Rows:
    """KVCache: rows are written at offset into arrays of full capacity, and the mask says
    which of them are there."""

    window = None
    rings = []  # names of those behind a window
    one_of_several = False

    def __init__(self, names):
        self.names = names

    def rows(self, length, capacity):
        return capacity

    def shapes(self, stock, batch, length, capacity):
        rows = self.rows(length, capacity)
        return [((batch, x.shape[1], rows, x.shape[3]), x.dtype) for x in (stock.keys, stock.values)]

    def begin(self, arrays, at):
        self.keys, self.values = arrays
        self.offset, self.first = at.offset, mx.reshape(at.offset, (1,))
        return self

    def arrays(self):
        return [self.keys, self.values]

    def update_and_fetch(self, keys, values):
        self.keys = mx.slice_update(self.keys, keys, self.first, axes=(2,))
        self.values = mx.slice_update(self.values, values, self.first, axes=(2,))
        return self.keys, self.values

    def make_mask(self, N, return_array=False, window_size=None):
        rows = (self.first + mx.arange(N))[:, None]
        columns = mx.arange(self.keys.shape[2])[None]
        mask = rows >= columns
        if window_size is not None:
            mask = mx.logical_and(mask, rows < columns + window_size)
        if self.one_of_several and N == 1:  # DeepSeek-V3.2 takes rows of it, by batch and head
            mask = mask[None, None]
        return mask

    def fill(self, stock, arrays, at):
        """Makes the stock cache hold the rows before the step."""
        stock.keys, stock.values = [x[:, :, : at.offset] if at.offset else None for x in arrays]
        stock.offset = at.offset

    def held(self, stock):
        return [x[:, :, : stock.offset] for x in (stock.keys, stock.values)]


class Keys(Rows):
    """A KVCache of keys that are only compared with: the model puts zeros in the values'
    place, which are no state."""

    def shapes(self, stock, batch, length, capacity):
        return super().shapes(stock, batch, length, capacity)[:1]

    def begin(self, arrays, at):
        return super().begin([arrays[0], mx.zeros_like(arrays[0])], at)

    def arrays(self):
        return [self.keys]

    def fill(self, stock, arrays, at):
        super().fill(stock, [arrays[0], mx.zeros_like(arrays[0])], at)

    def held(self, stock):
        return super().held(stock)[:1]


class Ring(Rows):
    """RotatingKVCache: one token replaces the oldest row; several are written behind the
    rows, in order, that the first of them still sees."""

    def __init__(self, names, window):
        super().__init__(names)
        self.window, self.rings = window, names

    def rows(self, length, capacity):
        if length == 1:
            return min(capacity, self.window)
        return min(capacity - length, self.window - 1) + length

    def begin(self, arrays, at):
        super().begin(arrays, at)
        self.first = mx.reshape(at.window_offset, (1,))
        return self

    def make_mask(self, N, return_array=False, window_size=None):
        if window_size not in (None, self.window):
            raise CaptureError(f"a window of {window_size} rows over a RotatingKVCache of {self.window} has no functional form here")
        if N == 1:  # all rows that have been written to
            return mx.reshape(self.offset, (1, 1)) >= mx.arange(self.keys.shape[2])[None]
        return super().make_mask(N, window_size=self.window)

    def fill(self, stock, arrays, at):
        rows = arrays[0].shape[2]
        full = at.offset >= rows  # then the step is of one token, into a ring
        held = rows if full else at.window_offset
        stock.keys, stock.values = [x[:, :, :held] if held else None for x in arrays]
        stock.offset, stock._idx = at.offset, at.window_offset



class Arrays:
    """ArraysCache: arrays that a layer replaces, such as the last inputs of a convolution."""

    lengths = None
    left_padding = None
    window = None
    rings = []

    def __init__(self, names):
        self.names = names

    def shapes(self, stock, batch, length, capacity):
        for x in stock.cache:
            if x.shape[:1] != (1,):
                raise CaptureError(f"{self.names[0]}: {x.shape} has no dimension for the batch in front")
        return [((batch, *x.shape[1:]), x.dtype) for x in stock.cache]

    def begin(self, arrays, at):
        self.cache = list(arrays)
        return self

    def arrays(self):
        return self.cache

    def __getitem__(self, i):
        return self.cache[i]

    def __setitem__(self, i, value):
        self.cache[i] = value

    def advance(self, n):
        pass

    def make_mask(self, N):
        return None

    def fill(self, stock, arrays, at):
        stock.cache = list(arrays)

    def held(self, stock):
        return stock.cache


class Several:
    """CacheList: caches of one layer, by number."""

    def __init__(self, parts):
        self.parts = parts
        for p in parts:
            p.one_of_several = True
        self.names = [name for p in parts for name in p.names]
        self.window = next((p.window for p in parts if p.window is not None), None)
        self.rings = [name for p in parts for name in p.rings]

    def shapes(self, stock, batch, length, capacity):
        return [s for p, c in zip(self.parts, stock.caches) for s in p.shapes(c, batch, length, capacity)]

    def begin(self, arrays, at):
        for p, some in split(self.parts, arrays):
            p.begin(some, at)
        return self

    def arrays(self):
        return [x for p in self.parts for x in p.arrays()]

    def __getitem__(self, i):
        return self.parts[i]

    def fill(self, stock, arrays, at):
        for (p, some), c in zip(split(self.parts, arrays), stock.caches):
            p.fill(c, some, at)

    def held(self, stock):
        return [x for p, c in zip(self.parts, stock.caches) for x in p.held(c)]


def split(twins, arrays):
    """The arrays of each of several caches."""
    first = 0
    for t in twins:
        yield t, arrays[first : first + len(t.names)]
        first += len(t.names)


def twin(stock, name, one_of_several=False):
    """The cache of ours for one of mlx-lm's, which has been used once."""
    kind = type(stock).__name__
    if kind == "KVCache" and one_of_several and stock.values.shape == stock.keys.shape and not mx.any(stock.values).item():
        return Keys([f"{name}.keys"])
    if kind == "KVCache":
        return Rows([f"{name}.keys", f"{name}.values"])
    if kind == "RotatingKVCache":
        if stock.keep:
            raise CaptureError(f"{name}: a RotatingKVCache that keeps the first {stock.keep} rows has no functional form here")
        return Ring([f"{name}.keys", f"{name}.values"], stock.max_size)
    if kind == "ArraysCache":
        if stock.lengths is not None or stock.left_padding is not None or any(x is None for x in stock.cache):
            raise CaptureError(f"{name}: an ArraysCache with padding or entries that the model leaves empty has no functional form here")
        return Arrays([f"{name}.state{i}" for i in range(len(stock.cache))])
    if kind == "CacheList":
        return Several([twin(c, f"{name}.{i}", True) for i, c in enumerate(stock.caches)])
    raise CaptureError(f"{name} is a {kind}; KVCache, RotatingKVCache, ArraysCache and CacheList can be made functional, others cannot")


# Recording and comparing.


def parameters(model):
    """The model's weights by name, and its other arrays made such that a trace holds them
    as they are: MLX writes a constant that is not contiguous with the wrong elements."""
    for module in model.modules():
        for key, value in module.items():
            if isinstance(value, mx.array) and key.startswith("_"):
                module[key] = mx.contiguous(value)
                mx.eval(module[key])
    mx.eval(model.parameters())
    return dict(tree_flatten(model.parameters()))


def record(path, step, calls, weights, inputs, outputs, more):
    """Writes the traces of step to a file."""
    metadata = {"zmlx_capture": FORMAT, "inputs": inputs, "outputs": outputs, **more}
    contiguous = mx.contiguous
    with mx.exporter(str(path), step, metadata=json.dumps(metadata, sort_keys=True)) as exporter:
        for what, args in calls:
            try:
                # MLX cannot write this primitive, which gives the values that it is given.
                mx.contiguous = lambda x, *args, **more: x
                exporter(*args, **weights)
            except Exception as e:
                raise CaptureError(f"{what}: MLX cannot record it: {e}") from e
            finally:
                mx.contiguous = contiguous


def same_bits(a, b):
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.size == 0:
        return True
    a, b = [mx.contiguous(x).reshape(-1).view(mx.uint8) for x in (a, b)]
    return bool(mx.array_equal(a, b))


def compare(what, names, got, run, than):
    """Raises an error that names the results that differ from those of run.

    A trace holds what is written in functions under mx.compile, and MLX fuses these when
    the model runs: it prints their constants with 7 digits, which are others in float32
    now and then. Where this alone tells the two apart, it is said and not an error."""
    want = run()
    if len(got) != len(want):
        raise CaptureError(f"{what}: {len(got)} results were recorded, {than} has {len(want)}")
    bad = [name for name, a, b in zip(names, got, want) if not same_bits(a, b)]
    if not bad:
        return
    mx.disable_compile()
    try:
        want = run()
        mx.eval(want)
    finally:
        mx.enable_compile()
    if all(same_bits(a, b) for a, b in zip(got, want)):
        note = f"note: {than} rounds otherwise inside mx.compile; the trace equals what it computes with MLX_DISABLE_COMPILE"
        if note not in said:
            said.add(note)
            print(f"zmlx_capture: {note}", file=sys.stderr)
        return
    raise CaptureError(f"{what}: the recorded step differs from {than} in {', '.join(bad[:4])}{' ...' if len(bad) > 4 else ''}")


said = set()  # notes, once each


def write(out, make):
    """Calls make(path) with a path beside out, and puts what it made in out's place."""
    if tuple(int(x) for x in mx.__version__.split(".")[:3] if x.isdigit()) < (0, 32, 1):
        raise CaptureError(f"mlx {mx.__version__} has no room for names in a file; 0.32.1 has")
    out = pathlib.Path(out)
    if not out.parent.is_dir():
        raise CaptureError(f"{out.parent} is no folder")
    handle, path = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".mlxfn")
    os.close(handle)
    try:
        make(path)
        os.chmod(path, 0o666 & ~umask())
        os.replace(path, out)
    finally:
        if os.path.exists(path):
            os.unlink(path)


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def capture_module(fn, out, calls, names=None, metadata=None):
    """Captures a module, or a function of arrays, one trace for each call.

    fn: an mlx.nn.Module, whose parameters become keyword arguments, or a function of
        arrays without parameters. It returns an array, or a list or tuple of them.
    out: the .mlxfn file to write.
    calls: a list of tuples of arrays, the arguments of a call each.
    names: names of the arguments; in0, in1, ... if left out.
    metadata: what else the file shall say of itself, as a dict for JSON.

    Raises CaptureError if the recorded function does not give the very bits of fn.
    """
    mx.set_default_device(mx.cpu)
    is_module = hasattr(fn, "parameters")
    weights = parameters(fn) if is_module else {}

    def step(*args, **weights):
        if weights:
            fn.update(tree_unflatten(list(weights.items())))
        got = fn(*args)
        return list(got) if isinstance(got, (list, tuple)) else [got]

    calls = [(f"call {i}", tuple(args)) for i, args in enumerate(calls)]
    names = list(names or (f"in{i}" for i in range(len(calls[0][1]))))
    if any(len(args) != len(names) for _, args in calls):
        raise CaptureError(f"not all calls have {len(names)} arguments: {', '.join(names)}")
    try:
        outputs = [f"out{i}" for i in range(len(step(*calls[0][1], **weights)))]

        def make(path):
            record(path, step, calls, weights, names, outputs, metadata or {})
            imported = mx.import_function(path)
            for what, args in calls:
                compare(what, outputs, imported(*args, **weights), lambda: step(*args, **weights), "the module")

        write(out, make)
    finally:
        if is_module:
            fn.update(tree_unflatten(list(weights.items())))


def capture_model(model, out, shapes, config=None):
    """Captures a model of mlx-lm: model(tokens, cache=caches) gives logits.

    model: an mlx.nn.Module of mlx-lm, its weights loaded.
    out: the .mlxfn file to write.
    shapes: a list of (batch, tokens, rows), one trace each; rows is the capacity of
        the caches, more than tokens; of a ring, it is at most the window's.
    config: the model's config.json as a dict, kept in the file's metadata.

    Raises CaptureError if a cache has no functional form, and if a recorded step does not
    give the very bits of the model.
    """
    try:
        from mlx_lm.models.cache import make_prompt_cache
    except ImportError as e:
        raise CaptureError("a model with caches needs mlx-lm: pip install mlx-lm") from e

    mx.set_default_device(mx.cpu)
    model.eval()
    weights = parameters(model)
    try:
        # One token shows what the caches hold.
        probe = make_prompt_cache(model)
        mx.eval(model(mx.zeros((1, 1), mx.int32), cache=probe))
        twins = [twin(c, f"cache.{i}") for i, c in enumerate(probe)]
        windows = {t.window for t in twins if t.window is not None}
        if len(windows) > 1:
            raise CaptureError(f"the caches have windows of {sorted(windows)} rows; one length is what a program can have")
        window = max(windows, default=None)
        places = ["offset"] if window is None else ["offset", "window_offset"]
        names = [name for t in twins for name in t.names]
        results = ["logits", *names]

        def step(tokens, *rest, **weights):
            model.update(tree_unflatten(list(weights.items())))
            at = At(*rest[: len(places)])
            caches = [t.begin(some, at) for t, some in split(twins, rest[len(places) :])]
            logits = model(tokens, cache=caches)
            return [logits] + [x for c in caches for x in c.arrays()]

        key = mx.random.key(0)
        calls = []
        for batch, length, rows in shapes:
            what = f"shape {batch}x{length}x{rows}"
            if batch < 1 or length < 1 or rows <= length:
                raise CaptureError(f"{what}: batch and tokens are at least 1, and the caches have room for more rows than tokens")
            state = []
            for shape, dtype in [s for t, c in zip(twins, probe) for s in t.shapes(c, batch, length, rows)]:
                key, draw = mx.random.split(key)
                state.append(mx.random.normal(shape, key=draw).astype(dtype))
            key, draw = mx.random.split(key)
            tokens = mx.random.randint(0, vocabulary(model, config), (batch, length), key=draw)
            # The caches are full after the step: then masked rows, of which mlx-lm's own
            # caches have none, cannot make sums come out otherwise.
            at = At(rows - length)
            if window is not None:
                at.window_offset = at.offset % window if length == 1 else min(at.offset, window - 1)
            calls.append((what, at, tokens, state))
        mx.eval([(tokens, state) for _, _, tokens, state in calls])

        def arguments(tokens, state, at):
            return [tokens, *(mx.array(getattr(at, p), mx.int32) for p in places), *state]

        def make(path):
            # Recorded at another place than it is compared at.
            traced = [(what, arguments(tokens, state, At(0, 0))) for what, _, tokens, state in calls]
            rings = [name for t in twins for name in t.rings]
            more = {"config": config or {}, "mlx_lm": importlib.metadata.version("mlx-lm"), "window": window or 0, "rings": rings}
            record(path, step, traced, weights, ["tokens", *places, *names], results, more)
            imported = mx.import_function(path)
            for what, at, tokens, state in calls:
                args = arguments(tokens, state, At(at.offset // 2, (at.window_offset or 0) // 2))
                compare(what, results, imported(*args, **weights), lambda: step(*args, **weights), "the model on functional caches")
                args = arguments(tokens, state, at)
                compare(what, results, imported(*args, **weights), lambda: live(tokens, state, at), "the model on mlx-lm's caches")

        def live(tokens, state, at):
            model.update(tree_unflatten(list(weights.items())))
            stock = make_prompt_cache(model)
            for (t, some), c in zip(split(twins, state), stock):
                t.fill(c, some, at)
            logits = model(tokens, cache=stock)
            return [logits] + [x for t, c in zip(twins, stock) for x in t.held(c)]

        write(out, make)
    finally:
        model.update(tree_unflatten(list(weights.items())))


def vocabulary(model, config):
    """How many tokens there are to draw from."""
    for source in (config or {}, (config or {}).get("text_config", {}), vars(getattr(model, "args", object))):
        if isinstance(source.get("vocab_size"), int):
            return source["vocab_size"]
    return 2


def parse_shapes(text):
    shapes = []
    for i, part in enumerate(text.split(",")):
        numbers = part.strip().split("x")
        if len(numbers) not in (2, 3) or not all(n.isdigit() for n in numbers):
            raise CaptureError(f"--shapes: {part!r} is not BATCHxTOKENS or BATCHxTOKENSxROWS, such as 1x5 or 1x5x256")
        numbers = [int(n) for n in numbers]
        if len(numbers) == 2:  # another capacity each, so that import can tell it from the rest
            numbers.append(256 * (i + 1 + numbers[1] // 256))
        shapes.append(tuple(numbers))
    return shapes


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or Hugging Face name of a model that mlx-lm loads")
    parser.add_argument("--out", required=True, metavar="FILE.mlxfn", help="file to write")
    parser.add_argument("--shapes", default=SHAPES, help=f"BATCHxTOKENS[xROWS], with commas between (default: {SHAPES})")
    args = parser.parse_args(argv)
    try:
        shapes = parse_shapes(args.shapes)
        try:
            from mlx_lm.utils import load_config, load_model
        except ImportError as e:
            raise CaptureError("loading a model needs mlx-lm: pip install mlx-lm") from e
        mx.set_default_device(mx.cpu)
        folder = pathlib.Path(args.model)
        if not folder.is_dir():
            from mlx_lm.utils import _download

            folder = _download(args.model)
        model, config = load_model(folder, lazy=True)
        capture_model(model, args.out, shapes, config)
    except (CaptureError, FileNotFoundError, ValueError) as e:
        sys.exit(f"zmlx_capture: {e}")
    print(f"{args.out}: {len(shapes)} traces, each equal to the model in every bit of logits and caches")


if __name__ == "__main__":
    main()
