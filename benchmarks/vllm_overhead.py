"""What vLLM's own OpenAI server takes over asking vLLM in one's own process: a measure for `overhead`.

Run it in the environment of `make test-vllm`, with a directory of a base model:

    PYTHONPATH=src python -m loradex.benchmarks.vllm_overhead PATH
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from openai import OpenAI

START_SECONDS = 300
MODEL = "asked"
UNCOUNTED = 10
ARGUMENTS = {"dtype": "float32", "max_model_len": 512, "enforce_eager": True}
AS_THE_SERVER_HAS_THEM = ("--dtype", "float32", "--max-model-len", "512", "--enforce-eager")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", help="directory of the base model")
    parser.add_argument("--questions", type=int, default=200, help="(default %(default)s)")
    chosen = parser.parse_args()
    # Both sides hold a model and a cache of their own.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    times = _times(chosen.path, chosen.questions)
    print(f"one token after each of {chosen.questions} prompts, one at a time, milliseconds")
    for name, one in times.items():
        p50, p99 = statistics.median(one), statistics.quantiles(one, n=100)[98]
        more = statistics.median(one) - statistics.median(times["in this process"])
        print(f"{name:<24} p50 {p50:>7.2f}   p99 {p99:>7.2f}   p50 more than in this process {more:>6.2f}")


def _times(path: str, questions: int) -> dict[str, list[float]]:
    """Milliseconds of each question, asked in each way, which take turns to be the first."""
    with _server(path) as port:
        sides = _sides(path, port)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(questions + UNCOUNTED):
            for name in sides if number % 2 else list(sides)[::-1]:
                started = time.perf_counter()
                sides[name](f"Is {number} even?")
                if number >= UNCOUNTED:
                    times[name].append(1000 * (time.perf_counter() - started))
        return times


def _sides(path: str, port: int) -> dict[str, Callable[[str], None]]:
    from vllm import LLM, SamplingParams  # noqa: PLC0415 - it has an environment of its own

    engine, one = LLM(path, enable_prefix_caching=False, **ARGUMENTS), SamplingParams(max_tokens=1)
    stock = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    bare = http.client.HTTPConnection("127.0.0.1", port)

    def in_process(prompt: str) -> None:
        engine.generate([prompt], one, use_tqdm=False)

    def with_openai(prompt: str) -> None:
        stock.completions.create(model=MODEL, prompt=prompt, max_tokens=1)

    def over_http(prompt: str) -> None:
        body = json.dumps({"model": MODEL, "prompt": prompt, "max_tokens": 1})
        bare.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        answer = bare.getresponse()
        if answer.status != http.client.OK or not json.loads(answer.read())["choices"]:
            raise SystemExit(f"the server answered {answer.status}")

    return {"in this process": in_process, "bare HTTP": over_http, "OpenAI's client": with_openai}


@contextmanager
def _server(path: str) -> Iterator[int]:
    """The port of vLLM's own server, once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    named = ("--model", path, "--served-model-name", MODEL, "--port", str(port), "--no-enable-prefix-caching")
    serving = subprocess.Popen(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *named, *AS_THE_SERVER_HAS_THEM],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if serving.poll() is not None or time.monotonic() > until:
                    raise SystemExit("vLLM's server did not start") from None
                time.sleep(0.5)
        yield port
    finally:
        serving.terminate()
        serving.wait()


if __name__ == "__main__":
    main()
