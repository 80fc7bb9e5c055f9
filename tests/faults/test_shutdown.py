"""A worker that is told to stop finishes or returns what it holds; one that dies doubles nothing."""

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import LiteralString

import pytest
from tests.fix_answering import Stack, StackOn
from tests.fix_valkey import NewRedisUrl
from tests.postgres_server import PostgresServer
from tests.postgres_states import frozen
from tests.stocked import stock
from tests.tiny_library import TinyLibrary
from tests.until import until
from tests.worker_process import WorkerProcess, asleep

from loradex.db import migrate
from loradex.db.session import connect
from loradex.service.client import Job

LONG = 100
GRACE_SECONDS = 60.0
"""`stop_grace_period` in docker-compose.yml; then a worker is killed."""

LEASE_SECONDS = "1"
MAX_ATTEMPTS = 3
PATIENCE_SECONDS = 180.0


@pytest.fixture(scope="module")
def site(stack_on: StackOn) -> Iterator[Stack]:
    with stack_on("shutdown") as made:
        yield made


@pytest.fixture(scope="module")
def own_site(
    new_redis_url: NewRedisUrl, tiny_library: TinyLibrary, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, PostgresServer]]:
    """A site whose Postgres is nobody else's, and may be frozen."""
    server = PostgresServer(tmp_path_factory.mktemp("own_postgres"), {})
    try:
        url = server.start()
        migrate.upgrade(url)
        stock(url, tiny_library)
        made = Stack(url, new_redis_url(), tiny_library, tmp_path_factory.mktemp("own"))
        yield made, server
        for worker in made.workers:
            worker.kill()
    finally:
        server.destroy()


@pytest.fixture(scope="module")
def survivor(site: Stack) -> WorkerProcess:
    """The worker that takes over in every test."""
    return site.worker(LEASE_SECONDS=LEASE_SECONDS, MAX_ATTEMPTS=str(MAX_ATTEMPTS)).start()


@pytest.fixture
def other(site: Stack) -> Iterator[WorkerProcess]:
    """A worker of small batches, gone after the test: it would take what others are to take."""
    made = site.worker(LEASE_SECONDS=LEASE_SECONDS, BATCH_ROWS="12").start()
    yield made
    made.kill()


def states(site: Stack, jobs: Sequence[Job]) -> Counter[str]:
    with connect(site.database_url) as connection:
        rows = connection.execute(
            "select state from loradex.jobs where id = any (%s)", ([job.id for job in jobs],)
        ).fetchall()
    return Counter(str(row[0]) for row in rows)


def test_a_worker_that_wakes_after_its_lease_is_fenced_off(
    site: Stack, survivor: WorkerProcess, other: WorkerProcess
) -> None:
    start = survivor.said
    with site.client() as client, connect(site.database_url) as looker:
        with ExitStack() as until_answered:
            with asleep(other), site.routing_held():
                jobs = client.enqueue_many(
                    {"prompt": f"Asleep {number}?", "max_new_tokens": LONG} for number in range(12)
                )
                until(lambda: states(site, jobs) == {"running": 12}, PATIENCE_SECONDS)
                until_answered.enter_context(asleep(survivor))
            assert {job.wait(120).job_id for job in jobs} == {job.id for job in jobs}
        survivor.wait_for("job.fenced_off", PATIENCE_SECONDS, start)

        answers = looker.execute(
            "select job_id, attempt from loradex.answers where job_id = any (%s)", ([job.id for job in jobs],)
        ).fetchall()
        assert sorted(row[0] for row in answers) == sorted(job.id for job in jobs)
        assert all(row[1] > 1 for row in answers)
        assert looker.execute("select * from loradex.verify_audit_chain()").fetchall() == []


def test_sigterm_finishes_or_returns_the_batch(
    site: Stack, survivor: WorkerProcess, other: WorkerProcess
) -> None:
    with site.client() as client:
        with asleep(survivor):
            with site.routing_held():
                jobs = client.enqueue_many(
                    {"prompt": f"Slow {number}?", "max_new_tokens": LONG} for number in range(24)
                )
                until(lambda: states(site, jobs)["running"] > 0, PATIENCE_SECONDS)
                other.send(signal.SIGTERM)

            assert other.stop() == 0

            left = states(site, jobs)
            assert left["running"] == left["failed"] == 0
            assert left["queued"] > 0
            assert not other.ready_file.exists()
        assert {job.wait(120).job_id for job in jobs} == {job.id for job in jobs}
        with connect(site.database_url) as connection:
            # What was given back costs no attempt.
            lost = connection.execute(
                "select count(*) from loradex.jobs where id = any (%s) and attempt - releases > 1",
                ([job.id for job in jobs],),
            ).fetchone()
        assert lost == (0,)


@pytest.mark.parametrize("busy", [False, True], ids=["with nothing in hand", "with a batch in hand"])
def test_sigterm_ends_a_worker_that_postgres_does_not_answer(
    own_site: tuple[Stack, PostgresServer], busy: bool
) -> None:
    """A frozen server takes what it is told, and says nothing; it is not waited for as long as it likes."""
    site, server = own_site
    worker = site.worker(SWEEP_SECONDS="0.1").start()
    with site.client() as client:
        jobs = client.enqueue_many(
            {"prompt": f"Frozen {number}?", "max_new_tokens": LONG} for number in range(6 if busy else 0)
        )
        until(lambda: states(site, jobs)["running"] > 0 or not busy, PATIENCE_SECONDS)
    with frozen(server):
        assert worker.stop(GRACE_SECONDS) == 0
        assert not worker.ready_file.exists()


@pytest.mark.parametrize("server_lives", [True, False], ids=["its session lives on", "its session ends too"])
def test_a_worker_killed_between_answer_and_commit_doubles_nothing(
    site: Stack, survivor: WorkerProcess, server_lives: bool
) -> None:
    waiting: LiteralString = """
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%record_answer%'"""
    with (
        site.client() as client,
        connect(site.database_url) as looker,
        connect(site.database_url) as holder,
        asleep(survivor),
    ):
        victim = site.worker(LEASE_SECONDS=LEASE_SECONDS).start()
        with holder.transaction():
            holder.execute("lock table loradex.answers in exclusive mode")
            job = client.enqueue("Is it done yet?", max_new_tokens=2)
            until(lambda: looker.execute(waiting).fetchone() is not None, PATIENCE_SECONDS)
            victim.kill()
            if not server_lives:
                looker.execute(
                    "select pg_terminate_backend(pid, 10000) from pg_stat_activity "
                    "where datname = current_database() and query like '%record_answer%'"
                    " and pid <> pg_backend_pid()"
                )
        survivor.send(signal.SIGCONT)

        answer = job.wait(60)

        attempts = looker.execute(
            "select attempt from loradex.answers where job_id = %s", (job.id,)
        ).fetchall()
        assert attempts == [(1 if server_lives else 2,)]
        assert client.explain(answer.answer_id)["attempt"] == attempts[0][0]


def test_a_job_that_kills_its_workers_ends_as_failed_and_takes_nobody_along(
    site: Stack, survivor: WorkerProcess
) -> None:
    with site.client() as client, connect(site.database_url) as looker:
        with asleep(survivor):
            jobs = client.enqueue_many(
                {"prompt": f"Question {number}?", "max_new_tokens": 2} for number in range(6)
            )
            # Two workers died with all of them in hand; a third one with the first alone.
            for hours_ago, rows in ((3, 6), (2, 6), (1, 1)):
                looker.execute(
                    "select loradex.claim_jobs("
                    "'dead', %s, interval '1 second', 3, now() - %s * interval '1 hour')",
                    (rows, hours_ago),
                )

        until(lambda: states(site, jobs) == {"done": 5, "failed": 1}, PATIENCE_SECONDS)

        failed = looker.execute(
            "select error_code, error_message from loradex.jobs where state = 'failed' and id = any (%s)",
            ([job.id for job in jobs],),
        ).fetchall()
        assert [row[0] for row in failed] == ["too_many_attempts"]
        assert "dead" in str(failed[0][1])
        assert sum(job.status == "failed" for job in jobs) == 1
