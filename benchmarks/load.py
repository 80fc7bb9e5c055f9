"""Under load: 20 clients, 5,000 jobs on a tiny model. Speed, latency, memory over time, a full queue."""

import argparse
import contextlib
import json
import statistics
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from signal import SIGCONT, SIGSTOP

import psutil
from tests.faults.site import Site, opened

from loradex.benchmarks.frame import Measure, Options, finish
from loradex.db.session import connect
from loradex.errors import QueueFullError
from loradex.service.client import Client

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=5000)
    asked = parser.parse_args()
    with opened(WORKERS, proxied=False, settings={"BATCH_ROWS": "32", "LEASE_SECONDS": "30"}) as site:
        measures = [load(site, asked.clients, asked.jobs), brim(site, asked.clients)]
    notes = [
        f"{WORKERS} workers on a tiny model: the path is what is loaded; each client asks, waits, asks",
        "latency is from `enqueue` to the answer in the client's hand",
        "memory is what a process shares with nobody, its mean in a quarter; Postgres with all its sessions",
        f"the queue took {DEPTH} jobs while the workers stood still and all clients enqueued at once",
    ]
    options = Options(json=asked.json, rounds=1, threads=1, device="cpu", dtype="float32")
    finish("load", options, measures, None, notes)


def load(site: Site, clients: int, jobs: int) -> Measure:
    """Speed and memory while all clients ask."""
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
    cuts = statistics.quantiles(latencies, n=100)
    return Measure(
        ratio=round((1 + FLAT) / max(one["ratio"] for one in quarters.values()), 3),
        bar=1.0,
        what=f"memory of the process that grows most, second to last quarter, against {100 * FLAT:g} %",
        sides={
            "clients": clients,
            "jobs": len(latencies),
            "seconds": round(seconds, 2),
            "jobs_per_second": round(len(latencies) / seconds, 1),
            "p50_ms": round(1000 * cuts[49], 1),
            "p99_ms": round(1000 * cuts[98], 1),
            "memory": quarters,
        },
    )


def brim(site: Site, clients: int) -> Measure:
    """How many jobs a queue of `DEPTH` takes from clients that all enqueue at once while nobody works."""
    for member in site.members:
        member.worker.send(SIGSTOP)
    try:
        with connect(site.database_url) as connection:
            connection.execute(
                "select loradex.change_setting('max_waiting_jobs', to_jsonb(%s::int))", (DEPTH,)
            )
        with ThreadPoolExecutor(clients) as pool:
            accepted = sum(pool.map(lambda number: _fill(site, number), range(clients)))
    finally:
        for member in site.members:
            member.worker.send(SIGCONT)
    if accepted < DEPTH:
        raise RuntimeError(f"the queue refused its place {accepted + 1} of {DEPTH}")
    return Measure(
        ratio=round(DEPTH / accepted, 3),
        bar=1.0,
        what="jobs the queue may hold against those it took",
        sides={"depth": DEPTH, "accepted": accepted, "clients": clients},
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


def _fill(site: Site, number: int) -> int:
    """How many jobs one client gets in before it is refused."""
    accepted = 0
    with Client(site.database_url, site.redis_url) as client:
        while accepted <= DEPTH:
            try:
                client.enqueue(f"Client {number} waits for the {accepted}th time?", max_new_tokens=1)
            except QueueFullError:
                break
            accepted += 1
    return accepted


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
