"""A thousand requests a second that `loradex serve` refuses, and questions asked meanwhile."""

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openai import OpenAI
from tests.fix_api import made_key

from loradex.benchmarks.frame import Measure, Options, finish
from loradex.benchmarks.stack import serving
from loradex.benchmarks.streams import served

RATE = 1000
CONNECTIONS = 50
REFUSED = range(400, 500)
UNCOUNTED = 10
WAIT_SECONDS = 60.0
CHOICES = ["yes", "no"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--questions", type=int, default=150, help="(default %(default)s)")
    parser.add_argument("--flood", nargs=2, metavar=("PORT", "KEY"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.flood is not None:
        asyncio.run(_flood(int(asked.flood[0]), asked.flood[1]))
        return
    chosen = Options(json=asked.json, rounds=1, threads=1, device="cpu", dtype="float32")
    with serving(chosen) as (_, worker):
        url, redis = worker.settings["DATABASE_URL"], worker.settings["REDIS_URL"]
        _, key = made_key(url, "alice")
        home = Path(tempfile.mkdtemp(prefix="loradex-refusals-", dir=worker.home))
        with (
            served(url, redis, home) as (port, _),
            OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0) as http,
        ):
            _times(http, UNCOUNTED)
            quiet = _times(http, asked.questions)
            with _flooded(port, key) as told:
                flooded = _times(http, asked.questions)
    finish("refusals", chosen, [_measure(quiet, flooded, told)], None, _notes(asked.questions))


def _times(http: OpenAI, questions: int) -> list[float]:
    """Milliseconds of each question; they are the same each time, so that mixtures are made already."""
    times = []
    for number in range(questions):
        started = time.perf_counter()
        http.completions.create(
            model="loradex",
            prompt=f"Is {number % UNCOUNTED} even?",
            extra_body={"loradex": {"choices": CHOICES}},
            timeout=WAIT_SECONDS,
        )
        times.append(1000 * (time.perf_counter() - started))
    return times


@contextmanager
def _flooded(port: int, key: str) -> Iterator[dict[str, float]]:
    """Refused requests come from a process of their own meanwhile; afterwards it is told what became of them."""
    told: dict[str, float] = {}
    flood = subprocess.Popen(
        [sys.executable, "-P", "-m", "loradex.benchmarks.refusals", "--flood", str(port), key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        next(iter(flood.stdout or ()))  # it has begun
        yield told
    finally:
        said, _ = flood.communicate("end\n")
    told.update(json.loads(said.splitlines()[-1]))


async def _flood(port: int, key: str) -> None:
    """Send them until a line comes in; print how many were refused in a second, and how many were not."""
    statuses: Counter[int] = Counter()
    started, used = time.monotonic(), time.process_time()
    places = itertools.count()
    senders = [
        asyncio.create_task(_sender(port, kind, places, started, statuses))
        for _, kind in zip(range(CONNECTIONS), itertools.cycle(_kinds(key)), strict=False)
    ]
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    seconds = time.monotonic() - started
    for one in senders:
        one.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    refused = sum(number for status, number in statuses.items() if status in REFUSED)
    told = {
        "a_second": refused / seconds,
        "not_refused": statuses.total() - refused,
        "processor": (time.process_time() - used) / (time.monotonic() - started),
    }
    print(json.dumps(told))


async def _sender(
    port: int, request: bytes, places: Iterator[int], started: float, statuses: Counter[int]
) -> None:
    """One connection, which sends its request again and again, each at its place in the stream of all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for place in places:
        await asyncio.sleep(max(0.0, started + place / RATE - time.monotonic()))
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        statuses[int(head.split()[1])] += 1


def _kinds(key: str) -> list[bytes]:
    """No key, a wrong one, no JSON, a setting that there is not, a model that there is not."""
    asked = {"model": "loradex", "prompt": "x"}
    wrong = f"lx_{'x' * 43}"
    return [
        _request("", json.dumps(asked)),
        _request(wrong, json.dumps(asked)),
        _request(key, "{"),
        _request(key, json.dumps({**asked, "loradex": {"colour": "red"}})),
        _request(key, json.dumps({**asked, "model": "nobody"})),
    ]


def _request(key: str, body: str) -> bytes:
    shown = f"authorization: Bearer {key}\r\n" if key else ""
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\n{shown}content-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def _measure(quiet: list[float], flooded: list[float], told: dict[str, float]) -> Measure:
    p50, p50_flooded = statistics.median(quiet), statistics.median(flooded)
    return Measure(
        ratio=round(p50 / p50_flooded, 3),
        bar=None,
        what=f"a question while nothing else comes against one while {RATE} requests a second are refused, p50",
        sides={
            "quiet_ms": round(p50, 2),
            "quiet_p99_ms": round(statistics.quantiles(quiet, n=100)[98], 2),
            "flooded_ms": round(p50_flooded, 2),
            "flooded_p99_ms": round(statistics.quantiles(flooded, n=100)[98], 2),
            "refused_a_second": round(told["a_second"], 1),
            "not_refused": int(told["not_refused"]),
            "flood_processors": round(told["processor"], 2),
        },
    )


def _notes(questions: int) -> list[str]:
    return [
        f"{questions} questions with OpenAI's client, one at a time, before the flood and during it",
        f"refused over {CONNECTIONS} connections: no key, a wrong key, no JSON, an unknown setting, an unknown model",
        "`loradex serve`, Postgres, Valkey, the worker and the flood are processes of the same machine",
        "flood_processors: the part of one processor that the flood itself used while it sent",
    ]


if __name__ == "__main__":
    main()
