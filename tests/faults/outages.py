"""Every outage at every moment of a job: `python -m tests.faults.outages` writes the table of what came of it."""

import json
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from tests import postgres_states, redis_states
from tests.exported import Exported
from tests.faults.outage_page import page
from tests.faults.outage_site import OutageSite, opened
from tests.preloaded import CLOCK_SECONDS
from tests.repository import ROOT
from tests.until import until

from loradex import terminal
from loradex.service.client import Client

Moment = Literal["idle", "claiming", "generating", "recording"]
Outage = Callable[[OutageSite], AbstractContextManager[None]]

MOMENTS: tuple[Moment, ...] = ("idle", "claiming", "generating", "recording")
WORDS = {"claiming": "claim_jobs", "recording": "recipe_hash"}
"""What goes by on the way to Postgres at that moment, and at no other."""
TRAP_SECONDS = 20.0
LASTS_SECONDS = 1.0
RECOVERY_SECONDS = 40.0
JOBS = 3
LONG = 100
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Outcome:
    """What came of one outage at one moment.

    Attributes:
        lost: Jobs without an answer, failed ones included.
        doubled: Answers beyond one a job.
        attempts: Most that a job took; one that was given back does not count.
        seconds: From the end of the outage to the last answer.
        said: What the worker logged, as its operator reads it; each reason once.
    """

    outage: str
    moment: Moment
    lost: int
    doubled: int
    attempts: int
    seconds: float
    said: tuple[str, ...]


def _of_postgres(state: postgres_states.State) -> Outage:
    return lambda site: state(site.postgres)


def _of_redis(state: redis_states.State) -> Outage:
    return lambda site: state(site.redis)


@contextmanager
def name_service_gone(site: OutageSite) -> Iterator[None]:
    known = site.hosts.read_text()
    site.hosts.write_text("")
    site.cut()
    try:
        yield
    finally:
        site.hosts.write_text(known)


@contextmanager
def certificate_expired(site: OutageSite) -> Iterator[None]:
    site.show_certificate(days=-1)
    site.cut()
    try:
        yield
    finally:
        site.show_certificate(days=30)


@contextmanager
def worker_frozen(site: OutageSite) -> Iterator[None]:
    site.worker.send(signal.SIGSTOP)
    try:
        yield
    finally:
        site.worker.send(signal.SIGCONT)


@contextmanager
def pooler_killed(site: OutageSite) -> Iterator[None]:
    assert site.pooler is not None
    site.pooler.kill()
    try:
        yield
    finally:
        site.pooler.__enter__()


def _clock(file: Callable[[OutageSite], Path], off: str) -> Outage:
    """A clock is set, and set right again later."""

    @contextmanager
    def outage(site: OutageSite) -> Iterator[None]:
        file(site).write_text(f"{off}\n")
        time.sleep(CLOCK_SECONDS)
        try:
            yield
        finally:
            file(site).write_text("+0\n")
            time.sleep(CLOCK_SECONDS)

    return outage


OUTAGES: dict[str, Outage] = {
    **{f"Postgres: {name}": _of_postgres(state) for name, state in postgres_states.STATES.items()},
    **{f"Redis: {name}": _of_redis(state) for name, state in redis_states.STATES.items()},
    "network: names are not resolved": name_service_gone,
    "network: certificates expired": certificate_expired,
    "clock of Postgres: an hour ahead": _clock(lambda site: site.server_clock, "+1h"),
    "clock of Postgres: an hour back": _clock(lambda site: site.server_clock, "-1h"),
    "worker: frozen": worker_frozen,
}
CLOCK_OF_THE_WORKER: dict[str, Outage] = {
    "clock of the worker: an hour ahead": _clock(lambda site: site.worker_clock, "+1h"),
    "clock of the worker: an hour back": _clock(lambda site: site.worker_clock, "-1h"),
}
FULL_DISKS = {name for name in OUTAGES if "full disk" in name}
"""These need a file system of the server's own, which only root may mount."""
POOLER: dict[str, Outage] = {"pooler: killed and started again": pooler_killed}
SITES: Sequence[tuple[Mapping[str, Outage], Mapping[str, bool]]] = (
    (OUTAGES, {}),
    (CLOCK_OF_THE_WORKER, {"worker_has_a_clock": True}),
    (POOLER, {"pooled": True}),
)
"""What is broken, and on what kind of site."""


class Entry:
    """An outage that is entered when its moment comes, by whoever notices, and never after it was left."""

    def __init__(self, outage: AbstractContextManager[None]) -> None:
        self._outage = outage
        self._lock = threading.Lock()
        self._tried = threading.Event()
        self._inside = self._left = False
        self._problem: BaseException | None = None

    def enter(self) -> None:
        with self._lock:
            if self._left:
                return
            try:
                self._outage.__enter__()
                self._inside = True
            except BaseException as error:  # noqa: BLE001 - `wait` raises it, where it is seen
                self._problem = error
            self._tried.set()

    def wait(self, seconds: float) -> bool:
        """Whether it was entered within that time; raises what entering it raised."""
        tried = self._tried.wait(seconds)
        if self._problem is not None:
            raise self._problem
        return tried

    def leave(self) -> None:
        with self._lock:
            self._left = True
            if self._inside:
                self._inside = False
                self._outage.__exit__(None, None, None)


def outcome(site: OutageSite, name: str, outage: Outage, moment: Moment, advice: str = "") -> Outcome:
    """Let an outage come at a moment and go again, and see what became of the jobs.

    It lasts until the worker has given that advice.
    """
    site.worker.wait_ready()
    start = site.worker.log.stat().st_size
    with site.client() as client:
        with lasting(site, moment, outage(site)) as enter:
            tokens = LONG if moment == "generating" else 2
            jobs = [] if moment == "idle" else _asked(client, tokens, site, moment)
            enter()
            time.sleep(LASTS_SECONDS)
            _until_said(site, start, advice)
        ended = time.monotonic()
        jobs = jobs or _asked(client, 2, site, moment)
        answers = _answers(site, jobs, ended + RECOVERY_SECONDS)
    assert site.worker.alive, site.worker.tail()
    answered = sum(count > 0 for count in answers)
    return Outcome(
        name,
        moment,
        lost=len(jobs) - answered,
        doubled=sum(answers) - answered,
        attempts=_most_attempts(site, jobs),
        seconds=round(time.monotonic() - ended, 1),
        said=tuple(dict.fromkeys(_as_read(line) for line in site.said(start))),
    )


def _until_said(site: OutageSite, start: int, advice: str) -> None:
    deadline = time.monotonic() + TRAP_SECONDS
    while advice not in " ".join(map(_as_read, site.said(start))) and time.monotonic() < deadline:
        time.sleep(0.05)


def _asked(client: Client, tokens: int, site: OutageSite, moment: Moment) -> list[UUID]:
    """New jobs; where a word of the worker is waited for, it sleeps until `_at` listens."""
    if moment in WORDS:
        site.worker.send(signal.SIGSTOP)
    jobs = client.enqueue_many({"prompt": f"Question {n}?", "max_new_tokens": tokens} for n in range(JOBS))
    return [job.id for job in jobs]


@contextmanager
def lasting(
    site: OutageSite, moment: Moment, outage: AbstractContextManager[None]
) -> Iterator[Callable[[], None]]:
    """Gives what enters the outage at that moment. Afterwards it is over and nothing waits for the moment any more.

    So it is whatever raises meanwhile: the site is left as the next outage needs it.
    """
    entry = Entry(outage)
    try:
        yield lambda: _at(site, moment, entry)
    finally:
        site.to_postgres.disarm()
        try:
            entry.leave()
        finally:
            site.worker.send(signal.SIGCONT)


def _at(site: OutageSite, moment: Moment, entry: Entry) -> None:
    """Enter the outage at that moment."""
    if moment in WORDS:
        site.to_postgres.cut()  # over a new connection the names of functions are sent again
        site.to_postgres.cut_at(WORDS[moment], "during", entry.enter)
        site.worker.send(signal.SIGCONT)
        assert entry.wait(TRAP_SECONDS), site.worker.tail()
        return
    if moment == "generating":
        until(lambda: site.postgres.run("select 1 from loradex.jobs where state = 'running' limit 1"))
    entry.enter()
    entry.wait(0)


def _answers(site: OutageSite, jobs: Sequence[UUID], deadline: float) -> list[int]:
    """How many answers each job has, once none of them waits any more."""
    while time.monotonic() < deadline:
        waiting = site.postgres.run("select 1 from loradex.jobs where state in ('queued', 'running') limit 1")
        if not waiting:
            break
        time.sleep(0.05)
    counts = site.postgres.run("select job_id, count(*) from loradex.answers group by job_id")
    known = {row[0]: int(row[1]) for row in counts}
    return [known.get(job, 0) for job in jobs]


def _most_attempts(site: OutageSite, jobs: Sequence[UUID]) -> int:
    rows = site.postgres.run("select id, attempt - releases from loradex.jobs")
    return max(int(attempts) for job, attempts in rows if job in jobs)


def _as_read(line: Mapping[str, Any]) -> str:
    """The reason and the cure in a line of the log; of an error nobody expected the last line of its traceback."""
    reason = line.get("reason") or line.get("exception", line["event"]).splitlines()[-1]
    return "; ".join([reason, line["cure"]] if "cure" in line else [reason])


def chain_is_intact(site: OutageSite) -> bool:
    """Whether the program in `docs/` that knows nothing of Loradex finds nothing wrong."""
    with tempfile.TemporaryDirectory() as directory:
        return Exported(site.postgres.url, Path(directory)).verify() == (0, ["intact"])


def matrix(site: OutageSite, outages: Mapping[str, Outage]) -> Iterator[Outcome]:
    """Each outage at each moment."""
    for name, outage in outages.items():
        for moment in MOMENTS:
            yield outcome(site, name, outage, moment)


def run_outages(only: str = "", *, write: bool) -> dict[str, Any]:
    """Each outage with `only` in its name at each moment; what came of them, also in benchmarks/results/ if wanted."""
    outcomes: list[Outcome] = []
    intact = True
    for outages, kind in SITES:
        wanted = {name: outage for name, outage in outages.items() if only in name}
        if not wanted:
            continue
        with opened(**kind) as site:
            if not site.postgres.has_own_disk:
                for name in FULL_DISKS & wanted.keys():
                    terminal.say(f"{name}: left out, since only root may mount a disk to fill")
                    del wanted[name]
            for one in matrix(site, wanted):
                outcomes.append(one)
                terminal.say(json.dumps(asdict(one)))
            intact = chain_is_intact(site) and intact
    report = {
        "cases": len(outcomes),
        "lost": sum(one.lost for one in outcomes),
        "doubled": sum(one.doubled for one in outcomes),
        "chain_intact": intact,
        "longest_recovery_seconds": max((one.seconds for one in outcomes), default=0.0),
        "outcomes": [asdict(one) for one in outcomes],
    }
    if write:
        (RESULTS / "outages.json").write_text(json.dumps(report, indent=1) + "\n")
        (RESULTS / "outages.md").write_text(page(report))
    return report


def main(
    only: Annotated[str, typer.Option(help="Outages with this in their name.")] = "",
    write: Annotated[bool, typer.Option(help="Write the table to benchmarks/results/.")] = True,
) -> None:
    """Let everything fail at every moment; exit code 1 if a job was lost or doubled, or the chain is broken."""
    report = run_outages(only, write=write)
    terminal.as_json({name: value for name, value in report.items() if name != "outcomes"})
    raise typer.Exit(0 if report["chain_intact"] and not report["lost"] and not report["doubled"] else 1)


if __name__ == "__main__":
    typer.run(main)
