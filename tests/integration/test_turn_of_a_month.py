"""The month turns while answers are recorded: each finds its part, and all is erased, verified and archived as ever."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests import preloaded
from tests.fix_db import PASSWORD, new_database, with_user
from tests.postgres_server import PostgresServer
from tests.until import until
from tests.world import World

from loradex.db import migrate
from loradex.db.logins import GROUPS, set_logins
from loradex.db.session import connect
from loradex.service import cli

TURN = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
BEFORE = TURN - HOUR
OVER = datetime(2029, 1, 1, tzinfo=UTC)
"""From then on the month before the turn is over for the 24 months that answers stay."""
WRITERS = 4
COUNT = "select count(*) from loradex.answers"

Said = tuple[UUID, int, Jsonb]
"""A job, the attempt at it, and what its worker says about the answer."""


class Calendar:
    """A Postgres with a clock that can be set; its database `loradex` holds the small library."""

    def __init__(self, home: Path) -> None:
        self._clock = home / "clock"
        self._write(BEFORE)
        self.server = PostgresServer(home / "postgres", preloaded.clock(self._clock))

    def set(self, moment: datetime, *sessions: World) -> None:
        """Set the clock, and wait until new sessions and these go by it."""
        self._write(moment)
        for session in sessions:
            until(partial(_goes_by, session.connection, moment))
        until(partial(self._new_session_goes_by, moment))

    def _new_session_goes_by(self, moment: datetime) -> bool:
        with connect(self.server.url) as session:
            return _goes_by(session, moment)

    def _write(self, moment: datetime) -> None:
        self._clock.write_text(f"{moment.timestamp() - time.time():+.3f}\n")


def _goes_by(session: psycopg.Connection[Any], moment: datetime) -> bool:
    row = session.execute("select clock_timestamp() - %s", (moment,)).fetchone()
    assert row is not None
    off: timedelta = row[0]
    return timedelta(0) <= off < HOUR / 2


@pytest.fixture(scope="module")
def calendar() -> Iterator[Calendar]:
    # Postgres, which may run as a user of its own, must be able to read the clock.
    home = Path(tempfile.mkdtemp(prefix="loradex-month-"))
    home.chmod(0o755)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, home, ignore_errors=True)
        made = Calendar(home)
        undo.callback(made.server.destroy)
        url = made.server.start()
        migrate.upgrade(url)
        set_logins(url, {group.login: (group, PASSWORD) for group in GROUPS})
        with connect(url) as connection:
            World.stocked(connection, examples=3)
        yield made


@pytest.fixture
def database_url(calendar: Calendar) -> Iterator[str]:
    """A database of the test's own; it is an hour before the turn."""
    calendar.set(BEFORE)
    with new_database(calendar.server, "loradex") as url:
        yield url


@pytest.fixture
def owner(database_url: str) -> Iterator[World]:
    with connect(database_url) as connection:
        yield World.found(connection)


@pytest.fixture
def workers(database_url: str) -> Iterator[list[World]]:
    """Sessions that have a worker's rights and no others."""
    with ExitStack() as undo:
        url = with_user(database_url, "loradex_worker")
        yield [World.found(undo.enter_context(connect(url))) for _ in range(WRITERS)]


@pytest.fixture
def loradex(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command that must do well; gives what it printed with --json."""
    monkeypatch.setenv("LORADEX_DATABASE_URL", with_user(database_url, "loradex_admin"))

    def run(*arguments: str) -> Any:
        code = cli.run([*arguments, "--json"])
        said = capsys.readouterr()
        assert code == 0, said
        return json.loads(said.out)

    return run


def prepared(owner: World, workers: list[World], count: int = 1) -> list[list[Said]]:
    """What each worker is to record: jobs it claimed and routed, with what it says about their answers."""
    made = []
    for worker in workers:
        owner.enqueue(*[{}] * count)
        claimed = worker.claim(rows=count)
        routings = worker.route(list(claimed), [worker.near("boats") for _ in claimed])
        made.append(
            [(job, attempt, Jsonb(owner.said(job, routings[job]))) for job, attempt in claimed.items()]
        )
    return made


def record(worker: World, answer: Said) -> None:
    worker.rows("select loradex.record_answer(%s, %s, %s)", *answer)


def parts(owner: World) -> list[tuple[str, int]]:
    """Each part that holds answers, and how many."""
    return owner.rows("select tableoid::regclass::text, count(*) from loradex.answers group by 1 order by 1")


def test_answers_recorded_across_the_turn_are_erased_verified_and_archived(
    calendar: Calendar,
    database_url: str,
    owner: World,
    workers: list[World],
    loradex: Any,
    tmp_path: Path,
) -> None:
    jobs = prepared(owner, workers, 3)
    for worker, mine in zip(workers, jobs, strict=True):
        record(worker, mine[0])
    with connect(database_url) as reader:
        reader.execute("begin isolation level repeatable read")
        assert reader.execute(COUNT).fetchone() == (WRITERS,)
        # The first answers of the month come all at once, in transactions that began in the month before.
        for worker in workers:
            worker.connection.execute("begin")
            worker.rows("select now()")
        calendar.set(TURN, *workers)

        def commit(worker: World, answer: Said) -> None:
            record(worker, answer)
            worker.connection.execute("commit")

        with ThreadPoolExecutor(WRITERS) as threads:
            list(threads.map(commit, workers, [mine[1] for mine in jobs]))
        assert reader.execute(COUNT).fetchone() == (WRITERS,)
    for worker, mine in zip(workers, jobs, strict=True):
        record(worker, mine[2])
    assert parts(owner) == [("loradex.answers_2026_12", WRITERS), ("loradex.answers_2027_01", 2 * WRITERS)]
    assert owner.month == "2027_01"
    assert loradex("audit", "verify")["answers"] == 3 * WRITERS

    erase = ("erase", "--reason", "why", "--by", "who", "--yes")
    assert loradex(*erase, "--job", str(jobs[0][0][0])) == {"jobs": 1, "answers": 1}
    assert loradex(*erase, "--before", "2027-01-01") == {"jobs": 3 * WRITERS - 1, "answers": 3 * WRITERS - 1}
    assert loradex("audit", "verify")["answers"] == 3 * WRITERS

    calendar.set(OVER - HOUR)
    assert loradex("archive", str(tmp_path)) == []
    calendar.set(OVER)
    (archived,) = loradex("archive", str(tmp_path))
    assert archived["answers"] == WRITERS
    assert parts(owner) == [("loradex.answers_2027_01", 2 * WRITERS)]
    assert loradex("audit", "verify")["answers"] == 2 * WRITERS
    assert loradex("audit", "verify", "--archive", archived["directory"])["answers"] == 3 * WRITERS


def test_a_clock_that_goes_back_over_the_turn_mixes_months_and_loses_nothing(
    calendar: Calendar, owner: World, workers: list[World], loradex: Any, tmp_path: Path
) -> None:
    early, late, again, after = (one for (one,) in prepared(owner, workers))
    record(workers[0], early)
    calendar.set(TURN, *workers)
    record(workers[1], late)
    calendar.set(BEFORE, *workers)
    record(workers[2], again)
    calendar.set(TURN + timedelta(days=31), *workers)
    record(workers[3], after)
    assert parts(owner) == [
        ("loradex.answers_2026_12", 2),
        ("loradex.answers_2027_01", 1),
        ("loradex.answers_2027_02", 1),
    ]
    assert loradex("audit", "verify")["answers"] == 4

    # The older month is over for long enough, the one it is mixed with is not.
    calendar.set(OVER)
    assert loradex("archive", str(tmp_path)) == []
    calendar.set(OVER + timedelta(days=31))
    (archived,) = loradex("archive", str(tmp_path))
    assert archived["answers"] == 3
    assert parts(owner) == [("loradex.answers_2027_02", 1)]
    assert loradex("audit", "verify", "--archive", archived["directory"])["answers"] == 4
