"""100,000 chained answers with all their provenance, verified by `loradex audit verify`."""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from loradex.benchmarks.answers import database, fill
from loradex.benchmarks.frame import Measure, Options, finish
from loradex.db.session import connect

BAR_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.02
SETTINGS = Options(json=True, rounds=1, threads=1, device="cpu", dtype="float32")


@dataclass(frozen=True)
class Verified:
    """One run of the command."""

    seconds: float
    cpu_seconds: float
    client_peak_bytes: int
    exit_code: int
    said: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--answers", type=int, default=100_000, help="(default %(default)s)")
    asked = parser.parse_args()
    with database() as url, connect(url) as connection:
        started = time.perf_counter()
        fill(connection, asked.answers)
        filled = time.perf_counter() - started
        sound = verify(url)
        forged = forge(connection, asked.answers // 2)
        found = verify(url)
    if (sound.said["answers"], sound.said["intact"], sound.exit_code) != (asked.answers, True, 0):
        raise RuntimeError(f"the chain should be intact: {sound.said}")
    if [one["answer_id"] for one in found.said["broken"]] != [forged] or found.exit_code != 1:
        raise RuntimeError(f"one answer was forged: {found.said}")
    bar = BAR_SECONDS * asked.answers / 100_000
    measure = Measure(
        ratio=round(bar / sound.seconds, 3),
        bar=1.0,
        what=f"`loradex audit verify` of {asked.answers} answers against {bar:g} s",
        sides={
            "ours_ms": round(1000 * sound.seconds, 1),
            "theirs_ms": 1000 * bar,
            "answers_per_second": round(asked.answers / sound.seconds),
            "client_cpu_seconds": round(sound.cpu_seconds, 1),
            "client_peak_mib": round(sound.client_peak_bytes / 2**20, 1),
            "with_a_forged_row_ms": round(1000 * found.seconds, 1),
            "fill_seconds": round(filled, 1),
        },
    )
    options = Options(**{**SETTINGS.__dict__, "json": asked.json})
    notes = [
        "written by loradex.record_answer, one after the other, with the starter library's vectors",
        "time is the whole command's, Python's start included; memory is the command's, not the server's",
        "then one similarity of one answer was changed behind the triggers; the command named it",
    ]
    finish("audit", options, [measure], None, notes)


def forge(connection: psycopg.Connection[Any], position: int) -> str:
    """Change one number of evidence as only a superuser can; returns the answer's id."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        row = connection.execute(
            "update loradex.answers set similarities[32] = similarities[32] - 1e-9 where position = %s "
            "returning id::text",
            (position,),
        ).fetchone()
    if row is None:
        raise RuntimeError(f"no answer {position} to forge")
    return str(row[0])


def verify(url: str) -> Verified:
    """Run the command in a process of its own."""
    started, used = time.perf_counter(), _cpu_of_children()
    process = subprocess.Popen(
        [sys.executable, "-c", "from loradex.service.cli import main; main(['audit', 'verify', '--json'])"],
        env=os.environ | {"LORADEX_DATABASE_URL": url},
        stdout=subprocess.PIPE,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, _peak_bytes(process.pid))
        time.sleep(LOOK_EVERY_SECONDS)
    seconds = time.perf_counter() - started
    said, _ = process.communicate()
    return Verified(seconds, _cpu_of_children() - used, peak, process.returncode, json.loads(said))


def _cpu_of_children() -> float:
    """Processor seconds of all processes that were started here and have ended: Postgres is none of them yet."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_bytes(process: int) -> int:
    """The most memory it has had since it began; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    main()
