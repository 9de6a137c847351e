"""python -m zmlx_rewrite: patch, plan, explain, validate, benchmark, run, exo."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

import mlx.core as mx

from . import __version__, binary, compare, exo, install, launch, plans
from .capture import vocabulary
from .record import Refused


def load(name: str) -> tuple[Any, Any]:
    """A model and its tokenizer, by folder or Hugging Face name."""
    from mlx_lm.utils import load_model

    if pathlib.Path(name).is_dir():
        try:
            from mlx_lm.utils import load as load_both

            return load_both(name)[:2]
        except Exception as e:  # a folder without a tokenizer will do where none is needed
            model, _ = load_model(pathlib.Path(name))
            print(f"zmlx_rewrite: no tokenizer: {e}", file=sys.stderr)
            return model, None
    from mlx_lm.utils import load as load_both

    return load_both(name)[:2]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m zmlx_rewrite", description="Models of mlx-lm, rewritten by rules.")
    parser.add_argument("--version", action="version", version=f"zmlx_rewrite {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        c = commands.add_parser(name, help=text, description=text)
        c.add_argument("model", help="folder or Hugging Face name of a model that mlx-lm loads")
        c.add_argument("--profile")
        c.add_argument("--preset", default="inference", help="inference, minimal or all")
        c.add_argument("--target", help="cpu, metal or cuda; this machine's if left out")
        c.add_argument("--rules", help="file or folder of rules to use over the built-in ones")
        c.add_argument("-o", "--output", choices=("text", "json"), default="text")
        return c

    def choose(c: argparse.ArgumentParser) -> None:
        c.add_argument("--only", action="append", default=[], metavar="RULE")
        c.add_argument("--exclude", action="append", default=[], metavar="RULE")
        c.add_argument("--rows", type=int, default=8, help="sequences of a call up to which it is rewritten")
        c.add_argument("--seconds", type=float, default=20.0, help="when they are over, shapes that were not looked at yet stay the model's; 0 takes the time")
        c.add_argument("--kernels-as", choices=("none", "reference", "source", "host"))

    def patching(c: argparse.ArgumentParser) -> None:
        choose(c)
        c.add_argument("--keep-slower", action="store_true", help="do not time what is rewritten, keep it")
        c.add_argument("--strict", action="store_true", help="fail if nothing is rewritten")

    choose(command("plan", "what would be rewritten; nothing is compared or timed"))
    e = command("explain", "where a rule applies, and where not, why")
    e.add_argument("--rule", required=True)
    e.add_argument("--site", help="only there: model.layers.0.mlp")
    patching(command("patch", "patch a model and print the account of it"))
    v = command("validate", "compare the tokens of the patched model with those of the unpatched one")
    patching(v)
    v.add_argument("--prompt", action="append", metavar="TEXT", help="may be repeated; ten texts if left out")
    v.add_argument("--max-tokens", type=int, default=256)
    b = command("benchmark", "time the patched model against the unpatched one, in turns")
    patching(b)
    b.add_argument("-p", "--prompt-tokens", type=int, default=512)
    b.add_argument("-g", "--generation-tokens", type=int, default=128)
    b.add_argument("-n", "--num-trials", type=int, default=5)
    b.add_argument("-b", "--batch-size", type=int, default=1)
    b.add_argument("--least", type=float, default=0.0, help="fail if the generation is not so many times as fast")
    r = commands.add_parser("run", help="run a program of mlx-lm with its models patched",
                            description="Runs a program of mlx-lm with its models patched: run [--rows N] mlx_lm.server --model M ...")
    choose(r)
    r.add_argument("--keep-slower", action="store_true")
    r.add_argument("--profile")
    r.add_argument("--preset", default="inference")
    r.add_argument("--target")
    r.add_argument("--rules")
    r.add_argument("program", help="mlx_lm.server, mlx_lm.generate, mlx_lm.benchmark, mlx_lm.chat, ...")
    r.add_argument("arguments", nargs=argparse.REMAINDER)
    x = commands.add_parser("exo", help="run exo with its models patched", allow_abbrev=False,
                            description="Runs exo with its models patched: exo [--rows N] [ARGUMENTS of exo]. What is not named here goes to exo.")
    choose(x)
    x.add_argument("--keep-slower", action="store_true")
    x.add_argument("--any-version", action="store_true", help="also a version of exo whose source was not read")
    args, rest = parser.parse_known_args(argv)
    if args.command == "exo":  # its arguments are options, which REMAINDER does not take first
        args.arguments = [a for a in rest if a != "--"]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return run(args)
    except (binary.ToolError, Refused, install.PatchError, ValueError) as e:
        print(f"zmlx_rewrite: {e}", file=sys.stderr)
        return 1


def run(args: argparse.Namespace) -> int:
    if args.command == "run":
        launch.run(args.program, args.arguments, dict(profile=args.profile, mode=args.preset, target=args.target, rules=args.rules, only=args.only,
                                                      exclude=args.exclude, rows=args.rows, kernels_as=args.kernels_as, measure=not args.keep_slower, seconds=args.seconds or None))
        return 0
    if args.command == "exo":
        exo.run(args.arguments, dict(only=args.only, exclude=args.exclude, rows=args.rows, kernels_as=args.kernels_as, measure=not args.keep_slower, seconds=args.seconds or None), args.any_version)
        return 0
    model, tokenizer = load(args.model)
    common = dict(profile=args.profile, mode=args.preset, target=args.target, rules=args.rules)
    say = lambda value, text: print(json.dumps(value) if args.output == "json" else text)  # noqa: E731
    if args.command == "explain":
        text = plans.explain(model, args.rule, site=args.site, **common)
        say({"text": text}, text.rstrip())
        return 0
    common |= dict(only=args.only, exclude=args.exclude, rows=args.rows, kernels_as=args.kernels_as)
    if args.command == "plan":
        made = plans.plan(model, **common)
        lines = []
        for p in made:
            rules = ", ".join(f"{r['name']} {r['matches']}" for r in p["rules"] if r["matches"])
            lines.append(f"case {p['case']} ({p['when']}): launches {p['launches']['before']} → {p['launches']['after']}; {rules or 'no rule applies'}")
        say(made, "\n".join(lines))
        return 0 if any(r["matches"] for p in made for r in p["rules"]) else 1
    report = install.patch(model, measure=not args.keep_slower, strict=args.strict, seconds=args.seconds or None, **common)
    if args.command == "patch":
        say(report.to_dict(), report)
        return 0
    print(report, file=sys.stderr)
    if args.command == "validate":
        if tokenizer is None:
            raise Refused("the folder has no tokenizer")
        result = compare.validate(model, tokenizer, args.prompt or compare.PROMPTS, args.max_tokens)
        say({"same": result.same, "prompts": result.prompts, "tokens": result.tokens, "rewritten": result.rewritten, "parted": result.parted}, result)
        return 0 if result.same else 1
    speed = compare.benchmark(model, vocabulary(model), args.prompt_tokens, args.generation_tokens, args.num_trials, args.batch_size)
    say({"prompt_tps": speed.prompt, "generation_tps": speed.generation, "speedups": speed.speedups, "device": str(mx.default_device())}, speed)
    return 0 if speed.speedup >= args.least else 1


if __name__ == "__main__":
    sys.exit(main())
