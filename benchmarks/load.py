"""Under load: 20 clients, 5,000 jobs on a tiny model. Speed, latency, memory over time, a full queue."""

import argparse
import contextlib
import json
import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from signal import SIGCONT, SIGSTOP
from typing import Any

import psutil

from benchmarks.frame import Options, machine
from db.errors import QueueFullError
from db.session import connect
from service.client import Client
from tests.faults.site import Site, opened

WORKERS = 2
QUARTERS = 4
FLAT = 0.10
SAMPLE_SECONDS = 0.5
DEPTH = 500
WAIT_SECONDS = 300.0


@dataclass
class Memory:
    """Unshared bytes of every process over time, with how much of the work was done by then."""

    samples: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def take(self, processes: Mapping[str, psutil.Process], done: float) -> None:
        for name, process in processes.items():
            used = 0
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):  # a session that ended meanwhile
                    used += one.memory_full_info().uss
            self.samples.setdefault(name, []).append((done, used))

    def quarters(self) -> dict[str, dict[str, float]]:
        """Mean of the second and of the last quarter, in MiB, and their ratio."""
        found = {}
        for name, samples in sorted(self.samples.items()):
            second, last = (_mean(samples, quarter) for quarter in (1, QUARTERS - 1))
            if second is not None and last is not None:
                found[name] = {
                    "second_mib": round(second / 2**20, 1),
                    "last_mib": round(last / 2**20, 1),
                    "ratio": round(last / second, 3),
                }
        return found


@dataclass
class Loaded:
    """What was measured; latencies are from `enqueue` to the answer in the client's hand."""

    clients: int
    jobs: int
    seconds: float
    jobs_per_second: float
    p50_ms: float
    p99_ms: float
    memory: Mapping[str, Mapping[str, float]]
    memory_flat: bool
    queue_depth: int
    queue_accepted: int
    queue_refused: bool
    machine: Mapping[str, Any]
    date: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=5000)
    asked = parser.parse_args()
    with opened(WORKERS, proxied=False, settings={"BATCH_ROWS": "32", "LEASE_SECONDS": "30"}) as site:
        result = measure(site, asked.clients, asked.jobs)
    document = asdict(result)
    print(
        json.dumps(document)
        if asked.json
        else "\n".join(f"{name}: {value}" for name, value in document.items())
    )


def measure(site: Site, clients: int, jobs: int) -> Loaded:
    """Load the site, then fill its queue."""
    latencies: list[float] = []
    threads = [
        threading.Thread(target=_ask, args=(site, number, jobs // clients, latencies))
        for number in range(clients)
    ]
    memory, processes = Memory(), _processes(site)
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memory.take(processes, len(latencies) / jobs)
        time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - started
    if len(latencies) < clients * (jobs // clients):
        raise RuntimeError("a client gave up; its error stands above")
    quarters = memory.quarters()
    accepted, refused = _fill(site)
    cuts = statistics.quantiles(latencies, n=100)
    return Loaded(
        clients=clients,
        jobs=len(latencies),
        seconds=round(seconds, 2),
        jobs_per_second=round(len(latencies) / seconds, 1),
        p50_ms=round(1000 * cuts[49], 1),
        p99_ms=round(1000 * cuts[98], 1),
        memory=quarters,
        memory_flat=all(one["ratio"] <= 1 + FLAT for one in quarters.values()),
        queue_depth=DEPTH,
        queue_accepted=accepted,
        queue_refused=refused,
        machine=machine(Options(json=True, rounds=1, threads=1, device="cpu", dtype="float32")),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _ask(site: Site, number: int, jobs: int, latencies: list[float]) -> None:
    """One client: a question, its answer, the next question."""
    with Client(site.database_url, site.redis_url) as client:
        for turn in range(jobs):
            started = time.perf_counter()
            client.enqueue(f"Client {number} asks for the {turn}th time?", max_new_tokens=4).wait(
                WAIT_SECONDS
            )
            latencies.append(time.perf_counter() - started)


def _fill(site: Site) -> tuple[int, bool]:
    """How many jobs a queue of `DEPTH` takes while nobody works, and whether it refuses the next."""
    accepted = 0
    for member in site.members:
        member.worker.send(SIGSTOP)
    try:
        with connect(site.database_url) as connection, Client(site.database_url, site.redis_url) as client:
            connection.execute("update loradex.limits set max_waiting_jobs = %s", (DEPTH,))
            try:
                while accepted <= 2 * DEPTH:
                    client.enqueue(f"Waiting {accepted}?", max_new_tokens=1)
                    accepted += 1
            except QueueFullError:
                return accepted, True
    finally:
        for member in site.members:
            member.worker.send(SIGCONT)
    return accepted, False


def _processes(site: Site) -> dict[str, psutil.Process]:
    """Every process that serves, by what it is; those of Postgres count together."""
    found = {
        member.worker.name: psutil.Process(member.worker.process.pid)
        for member in site.members
        if member.worker.process is not None
    }
    recorded = json.loads((site.home / "stack.json").read_text(encoding="utf-8"))
    return found | {part: psutil.Process(recorded[part]["pid"]) for part in ("postgres", "valkey")}


def _mean(samples: list[tuple[float, int]], quarter: int) -> float | None:
    inside = [used for done, used in samples if quarter <= QUARTERS * done < quarter + 1]
    return statistics.fmean(inside) if inside else None


if __name__ == "__main__":
    main()
