"""What an application finds in `Client`: asking, listing, taking part in its transactions, few connections, an end."""

import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from tests.fix_answering import NO_POSTGRES, NO_REDIS, NO_SWEEP, Stack
from tests.fix_db import with_user
from tests.until import until

from loradex.db.session import connect
from loradex.errors import (
    ClientClosedError,
    InvalidArgumentError,
    UnknownJobError,
    WaitTimeoutError,
)
from loradex.service import cli
from loradex.service.client import Answer, Client

NOBODY = "0198c5f2-6d3e-7c41-9a55-0c1d2e3f4a5b"
SHORT = {"max_new_tokens": 1, "method": "base"}
"""What costs the worker little."""


@contextmanager
def nothing_answered(stack: Stack) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """No answer is recorded while the block runs."""
    with connect(stack.database_url) as other, other.transaction():
        other.execute("lock table loradex.answers in exclusive mode")
        yield other


def sessions(stack: Stack, application: str) -> int:
    with connect(stack.database_url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where application_name = %s "
            "and datname = current_database()",
            (application,),
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def named(stack: Stack, application: str) -> str:
    """The URL of the stack's database for a program of that name."""
    return f"{stack.database_url}?application_name={quote(application)}"


def test_asking_is_enqueuing_and_waiting(client: Client) -> None:
    answer = client.ask("Is it late?", choices={"yes", "no"}, metadata={"test": "ask"})

    assert answer.choice in {"yes", "no"}
    assert answer.finish_reason == "choice"
    assert answer.prompt_tokens > 0
    assert answer.output_tokens > 0
    (job,) = client.jobs(metadata={"test": "ask"})
    assert job.wait(timeout=0) == answer
    assert client.ask("Write!", max_new_tokens=3, method="base").finish_reason in {"length", "stop"}
    with pytest.raises(InvalidArgumentError, match="only the prompt"):
        client.ask("Is it late?", ["yes", "no"])  # type: ignore[call-arg, arg-type]
    with pytest.raises(InvalidArgumentError, match="did you mean choices"):
        client.ask("Is it late?", choises=["yes", "no"])  # type: ignore[call-arg]


def test_an_answer_is_a_value(client: Client) -> None:
    job = client.enqueue(f"A question that goes on{' and on' * 8}?", max_new_tokens=2)
    answer = job.wait()
    again = client.job(job.id).wait()

    assert {answer, again} == {answer}
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert len(repr(answer)) < 250
    assert str(answer.answer_id) in repr(answer)
    assert client.answer(answer.answer_id) == answer


def test_a_repr_is_short_whatever_the_answer() -> None:
    part = {"weight": 0.125, "adapter": "a-name-of-some-length"}
    long = Answer.__new__(Answer)
    vars(long).update(text="x\n" * 5000, mixture=(part,) * 40, answer_id=NOBODY)
    assert len(repr(long)) < 300
    assert "\n" not in repr(long)


def test_jobs_are_listed_in_pages_and_by_what_was_noted(client: Client) -> None:
    jobs = client.enqueue_many(
        {"prompt": f"Page {number}?", "max_new_tokens": 1, "metadata": {"batch": "pages"}}
        for number in range(7)
    )
    for job in jobs:
        job.wait()

    listed: list[str] = []
    after = None
    while page := client.jobs(state="done", metadata={"batch": "pages"}, limit=3, after=after):
        assert len(page) <= 3
        after = page[-1]
        for job in page:
            assert job.facts is not None
            assert job.facts.metadata == {"batch": "pages"}
            assert job.facts.finished_at is not None
            listed.append(job.facts.prompt)
    assert sorted(listed) == [f"Page {number}?" for number in range(7)]
    assert client.jobs(metadata={"batch": "nothing"}) == []
    for wrong in ({"state": "lost"}, {"limit": 0}, {"metadata": {"a": 1}}, {"after": "x"}):
        with pytest.raises(InvalidArgumentError):
            client.jobs(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownJobError):
        client.jobs(after=NOBODY)


def test_jobs_come_as_they_are_completed(answering: Stack, client: Client) -> None:
    with nothing_answered(answering):
        jobs = client.enqueue_many({**SHORT, "prompt": f"Done {n}?"} for n in range(6))
        with pytest.raises(WaitTimeoutError, match="6 jobs"):
            next(client.as_completed(jobs, timeout=0.1))
    came = list(client.as_completed([*jobs, jobs[0]], timeout=60))
    assert {job.id for job in came} == {job.id for job in jobs}
    assert len(came) == len(jobs)
    assert all(job.wait(timeout=0).job_id == job.id for job in came)
    assert list(client.as_completed([])) == []


def test_a_closed_client_is_closed(answering: Stack) -> None:
    """Whatever is asked of it is refused at once, and a wait at hand ends."""
    ended: list[BaseException] = []
    with nothing_answered(answering):
        client = answering.client()
        job = client.enqueue("Is it open?", max_new_tokens=1)

        def wait() -> None:
            try:
                job.wait(timeout=None)
            except ClientClosedError as error:
                ended.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        until(lambda: client.listener._holding)
        client.close()
        waiter.join(5)
        assert len(ended) == 1
        for call in (
            lambda: client.enqueue("Is it open?"),
            lambda: job.wait(timeout=5),
            lambda: job.status,
            client.jobs,
            lambda: client.job(job.id),
            lambda: next(client.as_completed([job])),
        ):
            started = time.monotonic()
            with pytest.raises(ClientClosedError, match="make a new one"):
                call()
            assert time.monotonic() - started < 1
        client.close()
    with answering.client() as another:
        another.job(job.id).wait()


def test_many_clients_need_few_connections(answering: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty that all wait at once have a connection each, and none once they are idle."""
    monkeypatch.setattr("loradex.service.client.client.IDLE_SECONDS", 0.2)
    url = named(answering, "one of fifty clients")
    clients = [Client(url, answering.redis_url) for _ in range(50)]
    answers: list[Answer] = []
    with nothing_answered(answering):
        jobs = [client.enqueue("Many?", max_new_tokens=1, method="base") for client in clients]
        threads = [threading.Thread(target=lambda job=job: answers.append(job.wait())) for job in jobs]
        for thread in threads:
            thread.start()
        until(lambda: all(client.listener._holding for client in clients))
        until(lambda: sessions(answering, "one of fifty clients") == 50)
    for thread in threads:
        thread.join()
    assert len(answers) == 50
    for client in clients[:5]:
        assert client.ask("Again?", max_new_tokens=1, method="base").output_tokens > 0
    until(lambda: sessions(answering, "one of fifty clients") == 0)
    for client in clients:
        client.close()


def test_one_client_of_many_threads_needs_four(answering: Stack) -> None:
    url = named(answering, "many threads")
    with Client(url, answering.redis_url) as client:
        with nothing_answered(answering):
            jobs = client.enqueue_many({**SHORT, "prompt": f"Thread {n}?"} for n in range(20))
            threads = [threading.Thread(target=job.wait) for job in jobs]
            threads += [threading.Thread(target=client.jobs) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads[-10:]:
                thread.join()
            assert 1 <= sessions(answering, "many threads") <= 4
        for thread in threads:
            thread.join()


def test_connections_that_were_cut_are_made_anew(answering: Stack, client: Client) -> None:
    """An idle cut, as of a firewall or an administrator: the next call goes through, and a wait goes on."""
    client.jobs()
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'loradex client'"
    with connect(answering.database_url) as owner:
        with nothing_answered(answering):
            assert owner.execute(cut).fetchall()
            job = client.enqueue("Was it cut?", max_new_tokens=1)
            told: list[Answer] = []
            waiter = threading.Thread(target=lambda: told.append(job.wait()))
            waiter.start()
            until(lambda: client.listener._holding)
            owner.execute(cut)
        waiter.join(30)
    assert job.wait().job_id == job.id
    assert len(told) == 1


def test_programs_say_who_they_are(answering: Stack, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    client.jobs()
    with nothing_answered(answering):
        command = threading.Thread(target=cli.run, args=(["ask", "Who asks?", "--max-new-tokens", "1"],))
        command.start()
        until(lambda: sessions(answering, "loradex ask"))
        assert sessions(answering, "loradex client")
        assert sessions(answering, "loradex worker") >= 2
    command.join()


def test_a_job_is_part_of_the_callers_transaction(answering: Stack, client: Client) -> None:
    url = with_user(answering.database_url, "loradex_client")
    with psycopg.connect(url) as mine, Client(url, answering.redis_url) as asker:
        asker.enqueue("Never?", connection=mine)
        mine.rollback()
        with pytest.raises(InvalidArgumentError):
            asker.enqueue(" ", connection=mine)
        mine.execute("select 1")  # what is refused does not end the transaction
        jobs = asker.enqueue_many(
            [{"prompt": f"Mine {n}?", "max_new_tokens": 1} for n in range(3)], connection=mine
        )
        with pytest.raises(WaitTimeoutError, match="commit the transaction"):
            jobs[0].wait(timeout=0.1)
        mine.commit()
        assert [job.wait().job_id for job in jobs] == [job.id for job in jobs]
        mine.autocommit = True
        assert asker.enqueue("At once?", max_new_tokens=1, connection=mine).wait().output_tokens > 0
        assert not asker.jobs(state="queued")
    for wrong in ("a url", client, 5):
        with pytest.raises(InvalidArgumentError, match="psycopg connection"):
            client.enqueue("What?", connection=wrong)  # type: ignore[arg-type]


def test_a_job_is_part_of_an_sqlalchemy_session(answering: Stack, client: Client) -> None:
    engine = create_engine(answering.database_url.replace("postgresql:", "postgresql+psycopg:"))
    with Session(engine) as session:
        session.execute(text("select 1"))
        inner = session.connection().connection.driver_connection
        assert isinstance(inner, psycopg.Connection)
        job = client.enqueue("Mine?", max_new_tokens=1, connection=inner)
        session.commit()
    engine.dispose()
    assert job.wait().job_id == job.id


def test_workers_hear_plain_sql_without_redis(stack: Stack) -> None:
    """Nothing else would tell this worker of a job before the test is long over."""
    stack.worker(REDIS_URL=NO_REDIS, SWEEP_SECONDS=NO_SWEEP).start()
    with stack.client() as client, connect(stack.database_url) as asker:
        for number in range(3):
            row = asker.execute(
                "select job_id from loradex.enqueue_jobs(%s)",
                (Jsonb([{"prompt": f"Heard {number}?", **SHORT}]),),
            ).fetchone()
            assert row is not None
            assert client.job(str(row[0])).wait().output_tokens > 0


def test_a_worker_that_hears_nothing_finds_what_waits(stack: Stack) -> None:
    """Neither Redis nor Postgres tells it: it looks by itself."""
    stack.worker(REDIS_URL=NO_REDIS, LISTEN_URL=NO_POSTGRES).start()
    with stack.client() as client:
        assert client.ask("Is it found?", **SHORT).output_tokens > 0
