"""exo's own code, run with the hook and without it: scripts/exo.sh calls this.

exo's source, and the mlx-lm that it is written for, have to be on the path. Each case runs in a
process of its own; with and without the hook, exo has to yield the same tokens.

    alone     load_mlx_items and mlx_generate of exo, in one process
    worker    exo's RunnerSupervisor, which spawns a worker: load, warm up, requests at once
    tensor    two such workers, each with one part of the model, over MLX's ring on this machine
    pipeline  the same, by layers
    node      the launcher: exo's main, its API over HTTP, its master and worker
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPTS = ("It was", "Once upon a time", "The old man", "In the morning")
TOKENS = 24
OPTIONS = dict(kernels_as="reference", measure=False, rows=4, seconds=None)
FLAGS = ["--kernels-as", "reference", "--keep-slower", "--rows", "4", "--seconds", "0"]

# What exo's main takes from its Rust bindings, for a node that hears of no other: they are for
# the network, and have no part in loading a model.
BINDINGS = """
import asyncio, os

class FromSwarm:
    class Connection: pass
    class Message: pass

class NetworkingHandle:
    @staticmethod
    def new(*_): return NetworkingHandle()
    async def recv(self): await asyncio.Event().wait()
    async def gossipsub_subscribe(self, topic): return True
    async def gossipsub_unsubscribe(self, topic): return True
    async def gossipsub_publish(self, topic, data): pass

class PidfileError(Exception): pass

class Pidfile:
    def __init__(self, path, mode):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.file = open(path, "w")
    def write(self): self.file.write(str(os.getpid()))
    def as_raw_fd(self): return self.file.fileno()
    def close(self): self.file.close()
"""

# A sitecustomize that was there before the hook's: it has to be run, too. It keeps the reports
# of a worker, and tells as that ends how many calls of the model were rewritten.
SITE = """
import atexit, importlib.machinery, json, os, sys
kept = []

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "zmlx_rewrite.report":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            make = module.Report.__init__
            module.Report.__init__ = lambda self, *args, **named: (kept.append(self), make(self, *args, **named))[1]

        spec.loader.exec_module = exec_module
        return spec

@atexit.register
def tell():
    for report in kept:
        with open(os.path.join(os.path.dirname(__file__), f"calls-{os.getpid()}"), "w") as f:
            json.dump(report.calls, f)

sys.meta_path.insert(0, Finder)
"""


def port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def place(model: str, folder: pathlib.Path, case: str) -> dict[str, Any]:
    """The model as exo finds it, in a folder of exo's models: with a chat template, and an index."""
    source, to = ROOT / "testdata/trained" / model, folder / f"tiny--{model}"
    shutil.copytree(source, to)
    if case == "tensor":  # its quantized experts are too small for halves of them
        from mlx_lm.utils import dequantize_model, load_model, save_config, save_model

        loaded, config = load_model(source)
        save_model(to, dequantize_model(loaded))
        save_config({k: v for k, v in config.items() if not k.startswith("quantization")}, to / "config.json")
    tokens = json.loads((source / "tokenizer_config.json").read_text())
    tokens["chat_template"] = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    (to / "tokenizer_config.json").write_text(json.dumps(tokens))
    weights = (to / "model.safetensors").read_bytes()
    names = [n for n in json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")]) if n != "__metadata__"]
    (to / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": len(weights)}, "weight_map": dict.fromkeys(names, "model.safetensors")}))
    return json.loads((to / "config.json").read_text())


def card(model: str, config: dict[str, Any]) -> Any:
    from exo.shared.models.model_cards import ModelCard, ModelId, ModelTask
    from exo.shared.types.memory import Memory

    newer = {"backends": ["MlxCpu"]} if "backends" in ModelCard.model_fields else {}  # not in 0.3.68
    return ModelCard(model_id=ModelId(f"tiny/{model}"), storage_size=Memory.from_mb(2), n_layers=config["num_hidden_layers"], hidden_size=config["hidden_size"],
                     supports_tensor=True, tasks=[ModelTask.TextGeneration], trust_remote_code=False, **newer)


def bound(model: str, config: dict[str, Any], case: str) -> list[Any]:
    """An instance of the model on this machine, as each of its workers gets it."""
    from exo.shared.types.common import Host, NodeId
    from exo.shared.types.worker.instances import BoundInstance, InstanceId, MlxRingInstance
    from exo.shared.types.worker.runners import RunnerId, ShardAssignments
    from exo.shared.types.worker.shards import PipelineShardMetadata, TensorShardMetadata

    parts = 2 if case in ("tensor", "pipeline") else 1
    layers = config["num_hidden_layers"]
    made, kind = {}, TensorShardMetadata if case == "tensor" else PipelineShardMetadata
    for rank in range(parts):
        whole = case == "tensor"
        made[RunnerId(f"runner{rank}")] = kind(model_card=card(model, config), device_rank=rank, world_size=parts, n_layers=layers,
                                               start_layer=0 if whole else layers * rank // parts, end_layer=layers if whole else layers * (rank + 1) // parts)
    hosts = [Host(ip="127.0.0.1", port=port()) for _ in range(parts)]
    nodes = {NodeId(f"node{rank}"): runner for rank, runner in enumerate(made)}
    instance = MlxRingInstance(instance_id=InstanceId("instance"), ephemeral_port=port(), hosts_by_node={n: hosts for n in nodes},
                               shard_assignments=ShardAssignments(model_id=card(model, config).model_id, runner_to_shard=made, node_to_runner=nodes))
    return [BoundInstance(instance=instance, bound_runner_id=r, bound_node_id=n) for n, r in nodes.items()]


def request(model: str, prompt: str) -> Any:
    from exo.shared.models.model_cards import ModelId
    from exo.shared.types.text_generation import InputMessage, TextGenerationTaskParams

    return TextGenerationTaskParams(model=ModelId(f"tiny/{model}"), input=[InputMessage(role="user", content=prompt)], temperature=0.0, max_output_tokens=TOKENS)


def older() -> bool:
    """Version 0.3.68: without a builder, a loader that is no generator, other names."""
    return importlib.metadata.version("exo") == "0.3.68"


def alone(model: str, config: dict[str, Any]) -> dict[str, Any]:
    one = bound(model, config, "alone")[0]
    if older():
        from exo.worker.runner.llm_inference.runner import load_mlx_items

        loaded, tokenizer = load_mlx_items(one, None, on_timeout=None, on_layer_loaded=None)
    else:
        from exo.worker.engines.mlx.patches import apply_mlx_patches

        apply_mlx_patches()
        from exo.worker.engines.mlx.builder import load_mlx_items

        loading = load_mlx_items(one, None)
        try:
            while True:
                next(loading)
        except StopIteration as e:
            loaded, tokenizer = e.value[:2]
    from exo.worker.engines.mlx.generator.generate import mlx_generate
    from exo.worker.engines.mlx.utils_mlx import apply_chat_template

    got = []
    for prompt in PROMPTS:
        task = request(model, prompt)
        got.append([r.token for r in mlx_generate(model=loaded, tokenizer=tokenizer, task=task, prompt=apply_chat_template(tokenizer, task), kv_prefix_cache=None, group=None)])
    patch = getattr(type(loaded), "_zmlx_patch", None)
    return {"tokens": got} | ({"calls": patch.report.calls} if patch else {})


def workers(model: str, config: dict[str, Any], case: str) -> dict[str, Any]:
    import anyio
    from exo.shared.constants import EXO_LOG
    from exo.shared.logging import logger_setup
    from exo.shared.types import events, tasks
    from exo.shared.types.chunks import TokenChunk
    from exo.shared.types.common import CommandId
    from exo.shared.types.worker import runners
    from exo.utils.channels import channel
    if older():
        from exo.worker.runner.runner_supervisor import RunnerSupervisor

        os.environ["EXO_NO_BATCH"] = "1"  # its --no-batch: its batches are of an older mlx-lm than 0.32.0
    else:
        from exo.worker.runner.supervisor import RunnerSupervisor

    tokens: dict[str, list[int]] = {}
    done: set[str] = set()
    ended: list[int] = []

    async def listen(receiver: Any) -> None:
        async for event in receiver:
            if isinstance(event, events.ChunkGenerated):
                if isinstance(event.chunk, TokenChunk):
                    tokens.setdefault(event.command_id, []).append(event.chunk.token_id)
                    if event.chunk.finish_reason:
                        done.add(event.command_id)

    async def until(supervisors: list[Any], status: type) -> None:
        while not all(isinstance(s.status, status) for s in supervisors):
            for s in supervisors:
                if isinstance(s.status, runners.RunnerFailed):
                    raise RuntimeError(f"a worker of exo failed: {s.status.error_message}")
            await anyio.sleep(0.05)

    async def everywhere(supervisors: list[Any], made: Any, status: type | None) -> None:
        for s, task in [(s, made(s)) for s in supervisors]:
            group.start_soon(s.start_task, task)
        if status:
            await until(supervisors, status)

    async def run() -> None:
        nonlocal group
        supervisors = []
        async with anyio.create_task_group() as group:
            for b in bound(model, config, case):
                send, receive = channel[events.Event]()
                made = RunnerSupervisor.create(bound_instance=b, event_sender=send)
                supervisors.append(made if older() else await made)
                group.start_soon(listen, receive)
                group.start_soon(supervisors[-1].run)
            of = {"instance_id": supervisors[0].bound_instance.instance.instance_id}
            if len(supervisors) > 1:
                await everywhere(supervisors, lambda s: tasks.ConnectToGroup(**of), runners.RunnerConnected)
            await everywhere(supervisors, lambda s: tasks.LoadModel(**of), runners.RunnerLoaded)
            await everywhere(supervisors, lambda s: tasks.StartWarmup(**of), runners.RunnerReady)
            if len(supervisors) == 1:
                for i, prompt in enumerate(PROMPTS):
                    group.start_soon(supervisors[0].start_task, tasks.TextGeneration(command_id=CommandId(f"request {i}"), task_params=request(model, prompt), **of))
                while len(done) < len(PROMPTS):
                    await until(supervisors, (runners.RunnerRunning, runners.RunnerReady))
                    await anyio.sleep(0.05)
                await until(supervisors, runners.RunnerReady)
            await everywhere(supervisors, lambda s: tasks.Shutdown(runner_id=s.bound_instance.bound_runner_id, **of), None)
            while any(s.runner_process.exitcode is None for s in supervisors):
                await anyio.sleep(0.05)
            ended.extend(s.runner_process.exitcode for s in supervisors)
            group.cancel_scope.cancel()

    group: Any = None
    multiprocessing.set_start_method("spawn", force=True)  # this, and the logger, as exo's main has them
    logger_setup(EXO_LOG)
    anyio.run(run)
    return {"tokens": list(tokens[f"request {i}"] for i in range(len(PROMPTS))) if tokens else [], "exit codes": ended}


def part(model: str, one: Any, queue: Any) -> None:
    """One rank: exo's builder connects to the others and loads its part, and exo generates."""
    import mlx.core as mx
    from exo.worker.engines.mlx.builder import MlxBuilder
    from exo.worker.engines.mlx.generator.generate import mlx_generate
    from exo.worker.engines.mlx.utils_mlx import apply_chat_template

    calls: collections.Counter[str] = collections.Counter()

    def counted(name: str, call: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return call(*args, **kwargs)

        return run

    for name in ("all_sum", "all_gather", "send", "recv", "recv_like"):
        setattr(mx.distributed, name, counted(name, getattr(mx.distributed, name)))
    builder = MlxBuilder(one.bound_shard.model_card.model_id, None, None)
    builder.connect(one)
    for _ in builder.load(one):
        pass
    got = []
    for prompt in PROMPTS:
        task = request(model, prompt)
        got.append([r.token for r in mlx_generate(model=builder.inference_model, tokenizer=builder.tokenizer, task=task, prompt=apply_chat_template(builder.tokenizer, task), kv_prefix_cache=None, group=builder.group)])
    queue.put((got, sum(calls.values())))


def parts(model: str, config: dict[str, Any], case: str) -> dict[str, Any]:
    """The ranks in processes of their own. What exo's workers agree on between requests is left
    out: over the ring of stock MLX on a CPU it can stop for good, without the hook too."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=part, args=(model, one, queue)) for one in bound(model, config, case)]
    for rank in ranks:
        rank.start()
    got = [queue.get(timeout=150) for _ in ranks]
    for rank in ranks:
        rank.join(30)
    assert got[0][0] == got[1][0], "the ranks have other tokens"
    return {"tokens": got[0][0], "collectives": got[0][1] + got[1][1], "exit codes": [rank.exitcode for rank in ranks]}


def node(model: str, config: dict[str, Any], hook: bool, folder: pathlib.Path) -> dict[str, Any]:
    """The launcher as a user starts it, or exo without it. Requests come over HTTP."""
    (folder / "site/exo_rs.py").write_text(BINDINGS)
    at = port()
    command = ["zmlx_rewrite", "exo", *FLAGS] if hook else ["exo"]
    with open(folder / "node.log", "w") as log:
        started = subprocess.Popen([sys.executable, "-m", *command, "--offline", "--no-downloads", "--api-port", str(at)], stdout=log, stderr=log)

    def ask(path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{at}{path}", data, {"Content-Type": "application/json"}, method=method), timeout=120) as answer:
            return json.loads(answer.read())

    def until(what: Any) -> Any:
        for _ in range(600):
            if started.poll() is not None:
                raise RuntimeError(f"exo ended: {(folder / 'node.log').read_text()[-3000:]}")
            with contextlib.suppress(OSError):
                if got := what():
                    return got
            time.sleep(0.2)
        raise RuntimeError(f"exo does not come to it: {(folder / 'node.log').read_text()[-3000:]}")

    try:
        until(lambda: ask("/node_id"))
        name = f"tiny/{model}"
        placed = until(lambda: [p["instance"] for p in ask(f"/instance/previews?model_id={name}")["previews"] if p["instance"]])
        ask("/instance", {"instance": placed[0]})
        until(lambda: [s for s in ask("/state")["runners"].values() if "RunnerReady" in s])
        texts = [ask("/v1/chat/completions", {"model": name, "temperature": 0, "max_tokens": TOKENS, "messages": [{"role": "user", "content": p}]})["choices"][0]["message"]["content"] for p in PROMPTS]
        ask(f"/instance/{next(iter(ask('/state')['instances']))}", method="DELETE")
        until(lambda: "Runner process successfully terminated" in (folder / "node.log").read_text())
    finally:
        started.terminate()
        started.wait(60)
        print((folder / "node.log").read_text(), file=sys.stderr)
    return {"tokens": texts}


def one(case: str, model: str, hook: bool) -> dict[str, Any]:
    """Runs one case in this process."""
    from zmlx_rewrite import exo as launcher

    with tempfile.TemporaryDirectory(prefix="zmlx-exo-") as name:
        folder = pathlib.Path(name)
        (folder / "models").mkdir()
        (folder / "dashboard").mkdir()
        os.environ |= {"EXO_HOME": os.path.relpath(folder / "home", pathlib.Path.home()), "EXO_DASHBOARD_DIR": os.path.relpath(folder / "dashboard", pathlib.Path.home()),
                       "EXO_MODELS_READ_ONLY_DIRS": str(folder / "models"), "EXO_OFFLINE": "true", "HF_HUB_OFFLINE": "1"}
        (folder / "site").mkdir()
        (folder / "site/sitecustomize.py").write_text(SITE)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), os.environ["PYTHONPATH"]])
        config = place(model, folder / "models", case)
        with launcher.hooked(OPTIONS) if hook and case != "node" else contextlib.nullcontext():
            if case == "alone":
                got = alone(model, config)
            elif case == "node":
                got = node(model, config, hook, folder)
            else:
                got = workers(model, config, case)
                if case != "worker":
                    got = parts(model, config, case)
        told = [json.loads(f.read_text()) for f in (folder / "site").glob("calls-*")]
        return got | ({"calls": told[0]} if told else {})


def compare(case: str, model: str) -> bool:
    """One case with the hook and without it; says what came out."""
    got, says = {}, {}
    for hook in (False, True):
        done = subprocess.run([sys.executable, __file__, "--one", case, "--model", model, *(["--hook"] if hook else [])], capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            print(f"{case} {model}: FAILED {'with' if hook else 'without'} the hook\n{done.stdout[-2000:]}{done.stderr[-6000:]}")
            return False
        got[hook] = json.loads(done.stdout.strip().splitlines()[-1])
        says[hook] = re.sub("\x1b\\[[0-9;]*m", "", done.stdout + done.stderr)  # exo's log has colours
    heard = collections.Counter(re.findall(r"zmlx_rewrite: (.*)", says[True]))
    plain, hooked = got[False], got[True]
    wrong = []
    if hooked["tokens"] != plain["tokens"]:
        wrong.append("other tokens with the hook than without it")
    if "zmlx_rewrite:" in says[False]:
        wrong.append("the hook is there without being asked for")
    if any(hooked.get("exit codes", [])):
        wrong.append(f"workers ended with {hooked['exit codes']}")
    if case in ("tensor", "pipeline"):
        if heard != {"the model is one part of 2, and stays as it is, with its collectives": 4}:
            wrong.append("a part of a model was not left alone")
        if not hooked["collectives"] or hooked["collectives"] != plain["collectives"]:
            wrong.append(f"{hooked['collectives']} collectives, without the hook {plain['collectives']}")
    elif not any(": patched" in h for h in heard) or not hooked.get("calls", {}).get("rewritten"):
        wrong.append("the model is not patched, or none of its calls was rewritten")
    amount = f"{len(hooked['tokens'])} answers" if case == "node" else f"{sum(map(len, hooked['tokens']))} tokens"
    print(f"{case:<9}{model}: {'FAILED: ' + '; '.join(wrong) if wrong else f'the same {amount} with the hook and without it'}"
          + (f", by {hooked['collectives']} collectives each time" if hooked.get("collectives") and not wrong else ""))
    for line, times in heard.items():
        print(f"         {line}{f' ({times} times)' if times > 1 else ''}")
    if hooked.get("calls"):
        print(f"         calls of the model: {', '.join(f'{n} {what}' for what, n in sorted(hooked['calls'].items(), key=lambda c: -c[1]))}", flush=True)
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", help="run one case in this process and print its tokens")
    parser.add_argument("--hook", action="store_true")
    parser.add_argument("--model", default="qwen3_moe", help="folder of testdata/trained")
    parser.add_argument("--no-node", action="store_true", help="leave out what listens to the network")
    parser.add_argument("cases", nargs="*", help="all that this version of exo can be asked for, if left out")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.model, args.hook)))
        return 0
    import mlx.core as mx

    print(f"exo {importlib.metadata.version('exo')}, MLX {mx.__version__}, mlx-lm {importlib.metadata.version('mlx-lm')}, Python {sys.version.split()[0]}")
    cases = args.cases or (["alone", "worker"] if older() else ["alone", "worker", "tensor", "pipeline", "node"])
    return 0 if all([compare(case, args.model) for case in cases if case != "node" or not args.no_node]) else 1


if __name__ == "__main__":
    sys.exit(main())
