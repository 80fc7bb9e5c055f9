"""A worker that is told to stop finishes or returns what it holds; one that dies doubles nothing."""

import signal
import time
from collections.abc import Callable
from typing import LiteralString

import pytest
from tests.fix_answering import Stack

from loradex.db.session import connect

JOBS = 48
LONG = 180


def counted(stack: Stack) -> dict[str, int]:
    with connect(stack.database_url) as connection:
        rows = connection.execute("select state, count(*) from loradex.jobs group by state").fetchall()
    return {str(state): int(str(count)) for state, count in rows}


def until(true: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_sigterm_finishes_or_returns_the_batch(stack: Stack) -> None:
    worker = stack.worker(BATCH_ROWS="24", BATCH_TOKENS="1600").start()
    with stack.client() as client:
        jobs = client.enqueue_many(
            {"prompt": f"Slow {number}?", "max_new_tokens": LONG} for number in range(JOBS)
        )
        until(lambda: counted(stack).get("running", 0) > 0)

        assert worker.stop() == 0

        left = counted(stack)
        assert left.get("running", 0) == 0
        assert left.get("failed", 0) == 0
        assert left["queued"] > 0
        assert not worker.ready_file.exists()
        with connect(stack.database_url) as connection:
            assert connection.execute("select name from loradex.workers").fetchall() == []

        stack.worker().start()
        assert {job.wait(120).job_id for job in jobs} == {job.id for job in jobs}
        with connect(stack.database_url) as connection:
            # What was given back costs no attempt.
            lost = connection.execute(
                "select count(*) from loradex.jobs where attempt - releases > 1"
            ).fetchone()
        assert lost == (0,)


@pytest.mark.parametrize("server_lives", [True, False], ids=["its session lives on", "its session ends too"])
def test_a_worker_killed_between_answer_and_commit_doubles_nothing(stack: Stack, server_lives: bool) -> None:
    waiting: LiteralString = """
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%record_answer%'"""
    worker = stack.worker(LEASE_SECONDS="1").start()
    with (
        stack.client() as client,
        connect(stack.database_url) as looker,
        connect(stack.database_url) as holder,
    ):
        with holder.transaction():
            holder.execute("lock table loradex.answers in exclusive mode")
            job = client.enqueue("Is it done yet?", max_new_tokens=2)
            until(lambda: looker.execute(waiting).fetchone() is not None)
            worker.kill()
            if not server_lives:
                looker.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where query like '%record_answer%'"
                    " and pid <> pg_backend_pid()"
                )
        stack.worker(LEASE_SECONDS="1").start()

        answer = job.wait(60)

        attempts = looker.execute("select attempt from loradex.answers").fetchall()
        assert attempts == [(1,)] if server_lives else attempts == [(2,)]
        assert client.explain(answer.answer_id)["attempt"] == attempts[0][0]


def test_a_worker_that_wakes_after_its_lease_is_fenced_off(stack: Stack) -> None:
    sleeper = stack.worker(LEASE_SECONDS="1").start()
    other = stack.worker(LEASE_SECONDS="1").start()
    with stack.client() as client, connect(stack.database_url) as looker:
        other.send(signal.SIGSTOP)
        jobs = client.enqueue_many(
            {"prompt": f"Asleep {number}?", "max_new_tokens": LONG} for number in range(12)
        )
        until(lambda: counted(stack).get("running", 0) > 0)
        sleeper.send(signal.SIGSTOP)
        other.send(signal.SIGCONT)
        assert {job.wait(120).job_id for job in jobs} == {job.id for job in jobs}

        sleeper.send(signal.SIGCONT)
        until(lambda: "job.fenced_off" in sleeper.tail(200_000))

        assert looker.execute("select count(*), count(distinct job_id) from loradex.answers").fetchall() == [
            (12, 12)
        ]
        assert looker.execute("select distinct attempt > 1 from loradex.answers").fetchall() == [(True,)]
        assert looker.execute("select * from loradex.verify_audit_chain()").fetchall() == []


def test_a_job_that_kills_its_workers_ends_as_failed_and_takes_nobody_along(stack: Stack) -> None:
    with stack.client() as client, connect(stack.database_url) as looker:
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
        stack.worker(MAX_ATTEMPTS="3").start()

        until(lambda: counted(stack) == {"done": 5, "failed": 1})

        failed = looker.execute(
            "select error_code, error_message from loradex.jobs where state = 'failed'"
        ).fetchall()
        assert [row[0] for row in failed] == ["too_many_attempts"]
        assert "dead" in str(failed[0][1])
        assert sum(job.status == "failed" for job in jobs) == 1
