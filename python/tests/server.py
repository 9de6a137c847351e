"""mlx_lm.server under parallel requests, patched and not: python python/tests/server.py MODEL

Both servers get the same requests, all at once, and have to give the same texts.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
WORDS = ("It was", "Once upon a time", "The old man", "In the morning", "She said that", "There is no", "When the sea", "Two of them")


def ask(port: int, prompt: str, tokens: int) -> str:
    body = json.dumps({"prompt": prompt, "max_tokens": tokens, "temperature": 0.0}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"})
    for _ in range(50):  # the server's queue for connections is short
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return json.loads(answer.read())["choices"][0]["text"]
        except ConnectionError:
            time.sleep(0.05)
        except urllib.error.URLError as e:
            if not isinstance(e.reason, ConnectionError):
                raise
            time.sleep(0.05)
    raise ConnectionError("the server takes no connection")


def texts(command: list[str], model: str, requests: int, tokens: int) -> tuple[list[str], str]:
    """The texts that a server gives, and what it wrote."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen([sys.executable, "-m", *command, "--model", model, "--port", str(port), "--log-level", "ERROR"], stdout=log, stderr=log,
                                  env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"})
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
                    break
                except OSError:
                    if server.poll() is not None:
                        break
                    time.sleep(0.2)
            ask(port, "It", 2)  # the model is loaded, and patched, in the server's own thread
            with concurrent.futures.ThreadPoolExecutor(requests) as pool:
                got = list(pool.map(lambda i: ask(port, f"{WORDS[i % len(WORDS)]} {i}", tokens), range(requests)))
        finally:
            server.terminate()
            server.wait()
            log.seek(0)
            said = log.read()
    return got, said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--flags", default="", help="of zmlx_rewrite run, as one text")
    args = parser.parse_args()
    want, _ = texts(["mlx_lm.server"], args.model, args.requests, args.max_tokens)
    got, said = texts(["zmlx_rewrite", "run", "--rows", str(args.requests), "--seconds", "0", *args.flags.split(), "mlx_lm.server"], args.model, args.requests, args.max_tokens)
    same = sum(a == b for a, b in zip(want, got))
    shapes = said.count(" rewritten")
    print(f"{same} of {args.requests} texts are the same; {shapes} shapes of call are rewritten")
    if same < args.requests or not shapes:
        print(said, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
