"""Many open streams of `loradex serve`: memory of each, and the time of a piece from worker to client."""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psutil
from psycopg.conninfo import make_conninfo
from tests.fix_api import made_key

from loradex.benchmarks.answers import database
from loradex.benchmarks.frame import Measure, Options, finish
from loradex.db.address import libpq_url
from loradex.db.logins import group_named, set_logins
from loradex.db.session import connect
from loradex.embedded.valkey import EmbeddedValkey
from loradex.worker.jobs import Job
from loradex.worker.pieces import Pieces

LOGIN = "loradex_streams"
BAR_KIB = 256
TARGET_MS = 100
STEP_SECONDS = 0.05
STEPS = 200
BEGINNING = "0 "
"""It says that a stream is heard; it is no time."""

SETTINGS = Options(json=True, rounds=1, threads=1, device="cpu", dtype="float32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--idle", type=int, default=500, help="(default %(default)s)")
    parser.add_argument("--active", type=int, default=50, help="(default %(default)s)")
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="loradex-streams-"))
    valkey = EmbeddedValkey(home)
    try:
        with database() as url, served(url, valkey.start(), home) as (port, server):
            _, key = made_key(url, "alice")
            run = measured(
                url, valkey.url, port, key=key, server=server, idle=asked.idle, active=asked.active
            )
            measures = asyncio.run(run)
    finally:
        valkey.destroy()
    notes = [
        f"{asked.idle} streams hear nothing but comments",
        f"{asked.active} hear a piece every {1000 * STEP_SECONDS:g} ms, {STEPS} of them",
        "clients are sockets in one process, which also tells the pieces",
        "no worker: its `Pieces` are told what the time is, and what is heard at the end is compared with all of it",
    ]
    finish("streams", Options(**{**SETTINGS.__dict__, "json": asked.json}), measures, None, notes)


@contextmanager
def served(url: str, redis: str, home: Path) -> Iterator[tuple[int, psutil.Process]]:
    """`loradex serve` in a process of its own; its port."""
    set_logins(url, {LOGIN: (group_named("client"), LOGIN)})
    address = make_conninfo(libpq_url(url), user=LOGIN, password=LOGIN)
    named = {"HOME": str(home), "DATABASE_URL": address, "REDIS_URL": redis}
    program = "from loradex.service.cli import main; main()"
    log = home / "serve.log"
    with log.open("w") as lines:
        server = subprocess.Popen(
            [sys.executable, "-P", "-c", program, "serve", "--port", "0"],
            env=os.environ | {f"LORADEX_{name}": value for name, value in named.items()},
            stdout=subprocess.DEVNULL,
            stderr=lines,
        )
    try:
        while not (said := [line for line in log.read_text().splitlines() if "server.listening" in line]):
            if server.poll() is not None:
                raise AssertionError(log.read_text())
            time.sleep(0.05)
        yield int(re.findall(r":(\d+)/v1", said[0])[0]), psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


async def measured(
    url: str, redis: str, port: int, *, key: str, server: psutil.Process, idle: int, active: int
) -> list[Measure]:
    """What the streams cost, and what they heard."""
    late: list[float] = []
    heard: dict[str, str] = {}
    for _ in range(2):  # what is made once is made before
        _, writer = await opened(port, key, "warm")
        await asyncio.sleep(0.5)
        writer.close()
    before = server.memory_info().rss
    streams = [await opened(port, key, "idle") for _ in range(idle)]
    streams += [await opened(port, key, f"active {place}") for place in range(active)]
    jobs = await asyncio.to_thread(found, url, active)
    reading = [asyncio.create_task(read(one[0], late, heard)) for one in streams]
    with Pieces(redis) as pieces:
        for job in jobs:
            pieces.put(job, BEGINNING)
        while len(heard) < active:  # noqa: ASYNC110 - they are heard by many tasks
            await asyncio.sleep(0.1)
    used, started = sum(server.cpu_times()[:2]), time.monotonic()
    told: dict[UUID, str] = dict.fromkeys((job.id for job in jobs), BEGINNING)
    with Pieces(redis) as pieces:
        for job in jobs:
            pieces.put(job, BEGINNING)
        for step in range(STEPS):
            for job in jobs:
                word = f"{time.monotonic():.6f} "
                pieces.put(job, word)
                told[job.id] += word
            await asyncio.sleep(max(0.0, started + (step + 1) * STEP_SECONDS - time.monotonic()))
        await asyncio.sleep(1)
    cpu, seconds = sum(server.cpu_times()[:2]) - used, time.monotonic() - started
    memory = (server.memory_info().rss - before) / (idle + active) / 1024
    for task in reading:
        task.cancel()
    for _, writer in streams:
        writer.close()
    missed = [job for job, text in told.items() if heard.get(f"cmpl-{job}") != text]
    late.sort()
    p50, p99 = statistics.median(late), late[int(0.99 * len(late))]
    return [
        Measure(
            ratio=round(BAR_KIB / memory, 3),
            bar=1.0,
            what=f"memory of an open stream against {BAR_KIB} KiB",
            sides={"kib_a_stream": round(memory, 1), "streams": idle + active},
        ),
        Measure(
            ratio=round(1 - len(missed) / active, 3),
            bar=1.0,
            what="texts of which every piece was heard, of all",
            sides={"texts": active, "texts_that_differ": len(missed)},
        ),
        Measure(
            ratio=round(TARGET_MS / (1000 * p99), 3),
            bar=None,
            what=f"99 of 100 pieces on their way against {TARGET_MS} ms",
            sides={
                "p50_ms": round(1000 * p50, 2),
                "p99_ms": round(1000 * p99, 2),
                "pieces": active * STEPS,
                "share_of_a_processor": round(cpu / seconds, 3),
            },
        ),
    ]


async def opened(port: int, key: str, run: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream that was asked for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": "loradex", "prompt": run, "stream": True, "metadata": {"run": run}}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return reader, writer


def found(url: str, number: int) -> list[Job]:
    """The jobs of the active streams, once there are so many."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with connect(url) as connection:
            rows = connection.execute(
                "select id, pieces_key from loradex.jobs where state = 'queued' and prompt like 'active %'"
            ).fetchall()
        if len(rows) == number:
            return [Job(job, "generate", "?", None, None, None, {}, 1, place, 0, 0.0) for job, place in rows]
        time.sleep(0.05)
    raise TimeoutError(f"{number} jobs were not handed in")


async def read(reader: asyncio.StreamReader, late: list[float], heard: dict[str, str]) -> None:
    """Note how late each time in a text is, and the text."""
    async for line in reader:
        if not line.startswith(b"data: {"):
            continue
        now, said = time.monotonic(), json.loads(line[6:])
        text = said["choices"][0]["text"]
        heard[said["id"]] = heard.get(said["id"], "") + text
        late += [now - float(word) for word in text.split() if float(word)]


if __name__ == "__main__":
    main()
