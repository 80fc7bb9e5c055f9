"""PgBouncer in transaction mode before Postgres: questions are answered, foreign defaults do no harm, nothing leaks."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from structlog.testing import capture_logs
from tests.fix_answering import SWEEP_SECONDS, Stack, StackOn
from tests.fix_db import with_user
from tests.pooler import SESSIONS, Pooler
from tests.until import until

from loradex.db import async_session
from loradex.db.session import connect, settled, translate_errors
from loradex.db.session_settings import SETTLE
from loradex.embedded import EmbeddedPostgres
from loradex.errors import DatabaseUnavailableError
from loradex.service.client import AsyncClient, Client
from loradex.settings import Settings
from loradex.worker.notifications import Notifications

QUESTIONS = 14
OURS = {"asked by": "threads"}
FOREIGN = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "search_path": "nowhere",
    "datestyle": "German",
    "bytea_output": "escape",
    "statement_timeout": "20s",
    "idle_in_transaction_session_timeout": "20s",
}
"""What others who share the pooler set for the database, and find again afterwards."""


@pytest.fixture(scope="module")
def site(pooler: Pooler, stack_on: StackOn) -> Iterator[Stack]:
    """A stack whose worker reaches Postgres by the pooler, and listens at Postgres itself."""
    with stack_on("pooled") as made:
        url = made.database_url
        with connect(url) as owner:
            for name, value in FOREIGN.items():
                database = url.rpartition("/")[2]
                owner.execute(f"alter database {database} set {name} = '{value}'".encode())
        made.worker(
            DATABASE_URL=pooler.through(with_user(url, "loradex_worker")),
            LISTEN_URL=with_user(url, "loradex_worker"),
            SWEEP_SECONDS=SWEEP_SECONDS,
        ).start()
        yield made


DEFAULT = "20ms"
SLOWER = f"with late as materialized (select pg_sleep(0.1)) {SETTLE} and exists (select late from late)"
"""What a session relies on is set, by a server that takes longer for it than its default allows."""


@pytest.fixture
def short_of_time(
    database_url: str, postgres: EmbeddedPostgres, pooler: Pooler, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Where a pooler hands out sessions whose default ends what is set up before it is."""
    with connect(postgres.url) as admin:
        name = database_url.rpartition("/")[2]
        admin.execute(f"alter database {name} set statement_timeout = '{DEFAULT}'".encode())
    monkeypatch.setattr("loradex.db.session.SETTLE", SLOWER)
    monkeypatch.setattr("loradex.db.async_session.SETTLE", SLOWER)
    return pooler.through(database_url)


@pytest.fixture
def pooled_url(site: Stack, pooler: Pooler) -> str:
    return pooler.through(with_user(site.database_url, "loradex_client"))


def test_questions_are_answered_without_a_setting_and_polling_is_said_once(
    site: Stack, pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), Client(pooled_url, site.redis_url) as client:
        with ThreadPoolExecutor(QUESTIONS) as threads:
            answers = list(
                threads.map(
                    lambda number: client.ask(f"Pooled {number}?", max_new_tokens=2, metadata=OURS),
                    range(QUESTIONS),
                )
            )
        assert client.ask("And once more?", max_new_tokens=2, metadata=OURS).output_tokens > 0
        assert len(client.jobs(state="done", metadata=OURS)) == QUESTIONS + 1
        assert client.explain(answers[0].answer_id)["prompt"].startswith("Pooled")
    assert len({answer.answer_id for answer in answers}) == QUESTIONS
    said = [record.getMessage() for record in caplog.records if record.name == "loradex.client"]
    assert len(said) == 1
    assert "LORADEX_LISTEN_URL" in said[0]


def test_asyncio_too_and_with_a_url_to_listen_at_nothing_is_said(
    site: Stack, pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(listen_url=with_user(site.database_url, "loradex_client"))

    async def ask() -> int:
        async with AsyncClient(pooled_url, site.redis_url, settings=settings) as client:
            asked = (client.ask(f"Awaited {number}?", max_new_tokens=2) for number in range(QUESTIONS))
            return len({answer.answer_id for answer in await asyncio.gather(*asked)})

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(ask()) == QUESTIONS
    assert [record for record in caplog.records if record.name == "loradex.client"] == []


def test_what_others_share_is_left_as_it_was(site: Stack, pooler: Pooler, pooled_url: str) -> None:
    """A session of the server that we used has the database's defaults for whoever comes next."""
    with Client(pooled_url, site.redis_url) as client:
        client.ask("Is it left tidy?", max_new_tokens=1)
    for login in ("loradex_client", "loradex_worker"):
        for _ in range(SESSIONS):
            with psycopg.connect(
                pooler.through(with_user(site.database_url, login)), autocommit=True
            ) as next_one:
                found = {name: next_one.execute(f"show {name}").fetchone() for name in FOREIGN}  # type: ignore[call-overload]
            assert found["search_path"] == ("nowhere",)
            assert found["default_transaction_isolation"] == ("serializable",)


def test_a_default_that_is_too_short_is_lifted_for_each_call(short_of_time: str) -> None:
    """Each call is a transaction of its own there, and none of them keeps what another one lifted."""
    with connect(short_of_time) as session:
        assert session.pooled
        for _ in range(2):
            with settled(session):
                assert session.execute("show statement_timeout").fetchone() == ("1min",)
            assert session.execute("show statement_timeout").fetchone() == (DEFAULT,)


def test_a_default_that_is_too_short_is_lifted_for_each_awaited_call(short_of_time: str) -> None:
    async def walk() -> None:
        async with await async_session.connect(short_of_time) as session:
            assert session.pooled
            for _ in range(2):
                async with async_session.settled(session):
                    assert await (await session.execute("show statement_timeout")).fetchone() == ("1min",)
                assert await (await session.execute("show statement_timeout")).fetchone() == (DEFAULT,)

    asyncio.run(walk())


def test_prepared_statements_that_a_pooler_loses_are_explained(pooled_url: str) -> None:
    """Who insists on preparing gets a sentence, and never an error of psycopg."""
    with connect(pooled_url, prepare_threshold=1) as mine, connect(pooled_url) as other:
        for _ in range(3):
            mine.execute("select 1 where 1 = %s", (1,))
        with other.transaction():
            other.execute("select 1")  # now it holds the session that knows the statement
            with pytest.raises(DatabaseUnavailableError) as refused, translate_errors():
                mine.execute("select 1 where 1 = %s", (1,))
    assert "LORADEX_PREPARE_THRESHOLD=0" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_worker_that_cannot_listen_says_so_once(pooled_url: str) -> None:
    """It is woken by Redis then, and looks for jobs by itself."""
    stop = threading.Event()
    with capture_logs() as logged, Notifications(pooled_url, lambda: None, stop):
        until(lambda: logged)
    assert [(one["event"], "LORADEX_LISTEN_URL" in one["reason"]) for one in logged] == [
        ("notifications.not_heard", True)
    ]
