"""Breaks everything, many times, and counts: `python -m tests.faults.campaign --json`."""

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from uuid import UUID

import typer
from tests.exported import Exported
from tests.faults import kinds
from tests.faults.hosts import may_make_hosts
from tests.faults.site import Site, opened
from tests.repository import ROOT

from loradex import terminal
from loradex.db.session import connect
from loradex.errors import DatabaseUnavailableError
from loradex.service.client import Client

FULL: Mapping[kinds.Fault, int] = {
    kinds.kill_worker: 6,
    kinds.kill_worker_before_commit: 6,
    kinds.kill_valkey: 5,
    kinds.flush_valkey: 5,
    kinds.freeze_valkey: 3,
    kinds.restart_postgres_fast: 4,
    kinds.restart_postgres_immediately: 4,
    kinds.freeze_postgres: 4,
    kinds.cut_connections: 8,
    kinds.cut_before_commit: 8,
    kinds.cut_after_commit: 8,
    kinds.stop_worker_past_its_lease: 5,
    kinds.pull_a_cable: 6,
    kinds.pull_a_cable_for_long: 2,
    kinds.deliver_tenfold: 5,
}
SHORT: Mapping[kinds.Fault, int] = {
    fault: 1 for fault in FULL if fault not in (kinds.kill_worker, kinds.pull_a_cable_for_long)
}
"""Each once, but for what starts a worker anew or waits for half a minute."""
JOBS, WORKERS, SEED = 2000, 4, 1
RECOVERY_SECONDS = 240.0
LONGEST_TEXT = 48


@dataclass
class Report:
    """What came out.

    `recovery` is in seconds after the harm, by kind: until every job of the round had ended (`jobs`), and
    until every worker was ready again too (`all`).
    """

    seed: int
    workers: int
    hosts: int
    jobs: int = 0
    answers: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    duplicates: int = 0
    chain_intact: bool = False
    delivered_tenfold: int = 0
    connections_cut: int = 0
    fenced_off: int = 0
    attempts: dict[int, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether every promise held."""
        return self.lost == 0 and self.duplicates == 0 and self.chain_intact


class Campaign:
    """Rounds of jobs with one fault each, in an order the seed decides."""

    def __init__(
        self, site: Site, client: Client, jobs: int, seed: int, faults: Mapping[kinds.Fault, int]
    ) -> None:
        self._site = site
        self._client = client
        self._jobs = jobs
        self._dice = random.Random(seed)
        self._rounds = [fault for fault, times in faults.items() for _ in range(times)]
        self._dice.shuffle(self._rounds)
        self._accepted: list[UUID] = []
        self._recovery: dict[str, list[tuple[float, float]]] = {}
        hosts = {member.host for member in site.members}
        self._report = Report(seed, workers=len(site.members), hosts=len(hosts))

    def run(self) -> Report:
        """Every round, then the count."""
        started = time.monotonic()
        for number, fault in enumerate(self._rounds):
            share = self._jobs * (number + 1) // len(self._rounds) - len(self._accepted)
            self._round(fault, share)
        self._count()
        self._report.seconds = round(time.monotonic() - started, 1)
        return self._report

    def _round(self, fault: kinds.Fault, jobs: int) -> None:
        accepted = self._enqueue(jobs)
        time.sleep(self._dice.uniform(0, 0.1))
        fault(self._site, self._dice, accepted)
        harmed = time.monotonic()
        for member in self._site.members:
            member.revive()
        self._until_ended(accepted, harmed + RECOVERY_SECONDS)
        ended = time.monotonic() - harmed
        for member in self._site.members:
            member.worker.wait_ready()
        name = fault.__name__
        self._recovery.setdefault(name, []).append((ended, time.monotonic() - harmed))
        self._report.faults[name] = self._report.faults.get(name, 0) + 1
        if fault is kinds.deliver_tenfold:
            self._report.delivered_tenfold += len(accepted)

    def _enqueue(self, count: int) -> list[UUID]:
        first = len(self._accepted)
        jobs = self._client.enqueue_many(self._question(first + number) for number in range(count))
        accepted = [job.id for job in jobs]
        self._accepted += accepted
        return accepted

    def _question(self, number: int) -> dict[str, Any]:
        method = self._dice.choice(["cat", "linear", "ties", "base", "top1", "uniform"])
        asked: dict[str, Any] = {"prompt": f"Question {number} of the campaign?", "method": method}
        if self._dice.random() < 0.3:
            asked["choices"] = ["yes", "no", "perhaps"]
        else:
            asked["max_new_tokens"] = self._dice.randint(1, LONGEST_TEXT)
            # Told through Redis while it is written, or while Redis is gone.
            asked["stream"] = self._dice.random() < 0.3
        return asked | {"idempotency_key": f"campaign-{number}"}

    def _until_ended(self, jobs: list[UUID], deadline: float) -> None:
        """Return when every job has ended; jobs that have not by the deadline will be counted as lost."""
        while time.monotonic() < deadline:
            try:
                with connect(self._site.database_url) as connection:
                    row = connection.execute(
                        "select count(*) from loradex.jobs "
                        "where id = any (%s) and state in ('queued', 'running')",
                        (jobs,),
                    ).fetchone()
                if row is not None and row[0] == 0:
                    return
            except DatabaseUnavailableError:
                pass
            time.sleep(0.1)

    def _count(self) -> None:
        report = self._report
        with connect(self._site.database_url) as connection:
            ended = connection.execute(
                """
                select j.id, j.state, j.error_code, j.attempt - j.releases,
                       (select count(*) from loradex.answers a where a.job_id = j.id)
                from loradex.jobs j
                """
            ).fetchall()
            answers = connection.execute("select count(*) from loradex.answers").fetchone()
        known = {row[0]: row for row in ended}
        report.jobs = len(self._accepted)
        report.answers = int(str(answers[0])) if answers is not None else 0
        report.failed = dict(Counter(str(row[2]) for row in ended if row[1] == "failed"))
        report.lost = sum(
            job not in known
            or known[job][1] not in {"done", "failed"}
            or (known[job][1] == "done") != (known[job][4] == 1)
            for job in self._accepted
        )
        extra_answers = report.answers - sum(row[1] == "done" for row in ended)
        report.duplicates = extra_answers + len(known) - len(set(self._accepted))
        report.attempts = dict(sorted(Counter(int(str(row[3])) for row in ended).items()))
        with tempfile.TemporaryDirectory() as directory:
            # By the program in docs/ that knows nothing of Loradex.
            report.chain_intact = Exported(self._site.database_url, Path(directory)).verify() == (
                0,
                ["intact"],
            )
        report.connections_cut = sum(member.proxy.cuts for member in self._site.members)
        report.fenced_off = sum(
            member.worker.log.read_text(errors="replace").count('"job.fenced_off"')
            for member in self._site.members
        )
        report.recovery = {
            name: {
                "jobs_median": round(median(ended for ended, _ in times), 2),
                "jobs_longest": round(max(ended for ended, _ in times), 2),
                "all_median": round(median(ready for _, ready in times), 2),
                "all_longest": round(max(ready for _, ready in times), 2),
            }
            for name, times in sorted(self._recovery.items())
        }


def run_campaign(jobs: int, seed: int, faults: Mapping[kinds.Fault, int], *, workers: int) -> Report:
    """One campaign on a site of its own, with two hosts where this user may make them."""
    hosts = 2 if may_make_hosts() else 0
    with opened(workers, hosts=hosts) as site, Client(site.database_url, site.redis_url) as client:
        return Campaign(site, client, jobs, seed, faults).run()


def write(report: Report) -> None:
    """Keep the figures in benchmarks/results/."""
    (ROOT / "benchmarks" / "results" / "campaign.json").write_text(
        json.dumps(asdict(report), indent=1) + "\n"
    )


def main(
    jobs: Annotated[int, typer.Option(min=1, help="Jobs in all.")] = JOBS,
    workers: Annotated[int, typer.Option(min=1, help="Workers, on two hosts if you are root.")] = WORKERS,
    seed: Annotated[int, typer.Option(help="Decides the order of the faults and their moments.")] = SEED,
    short: Annotated[bool, typer.Option(help="Most kinds once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the figures in benchmarks/results/.")] = False,
) -> None:
    """Break workers, hosts, Valkey, Postgres and connections while jobs run; exit code 1 if a promise broke."""
    report = run_campaign(jobs, seed, SHORT if short else FULL, workers=workers)
    if keep:
        write(report)
    if as_json:
        terminal.as_json(asdict(report))
    else:
        for name, value in asdict(report).items():
            terminal.say(f"{name}: {value}")
    raise typer.Exit(0 if report.kept else 1)


if __name__ == "__main__":
    typer.run(main)
