"""What the benchmarks that pair programs share: rounds on a quiet machine, and intervals."""

import os
import pathlib
import platform
import random
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = ROOT / "bin/zmlx-rewrite"


def bootstrap(values, of=statistics.median, resamples=10000, level=0.95):
    r = random.Random(1)
    drawn = sorted(of(r.choices(values, k=len(values))) for _ in range(resamples))
    tail = int(resamples * (1 - level) / 2)
    return drawn[tail], drawn[-1 - tail]


def machine():
    cpu = platform.processor()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((l.split(":")[1].strip() for l in info.read_text().splitlines() if l.startswith("model name")), cpu)
    return dict(system=f"{platform.system()} {platform.machine()}", cpu=cpu, cores=os.cpu_count())


def cpu_time():
    """Seconds that all processes have computed, and seconds of ours among them."""
    own = sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    try:
        user, nice, system, _, _, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:8])
    except OSError:
        return own, own
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"), own


def versions(*packages):
    from importlib.metadata import version

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return dict({p.replace("-", "_"): version(p) for p in packages}, commit=commit)


def quiet_rounds(wanted, others, run):
    """Calls run until it has given what it returns for so many rounds, not counting the
    first, which warms up, and those during which other processes took more than `others`
    of a core; only Linux can tell. Returns those that count and those that do not. After
    three times as many rounds as wanted it gives up."""
    rounds, busy = [], []
    for i in range(1 + 3 * wanted):
        load, (before, before_own), start = os.getloadavg()[0], cpu_time(), time.monotonic()
        result = run()
        after, after_own = cpu_time()
        taken = (after - before - (after_own - before_own)) / (time.monotonic() - start)
        why = " (warm-up)" if i == 0 else " (busy machine, does not count)" if taken > others else ""
        figures = ", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {' '.join(f'{x:.2f}' for x in v)}" for k, v in result.items())
        print(f"round {i}{why}: {figures}, load {load:.1f}, others {taken:.2f}", file=sys.stderr)
        if i > 0:
            (busy if why else rounds).append(dict(result, load=load, others=taken))
        if len(rounds) == wanted:
            return rounds, busy
    raise SystemExit(f"other processes took more than {others} of a core in all but {len(rounds)} of {len(rounds) + len(busy)} rounds: no verdict")
