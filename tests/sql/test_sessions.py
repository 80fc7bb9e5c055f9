"""A session relies on nothing that the server, the database or the login may have set otherwise."""

import asyncio
import datetime as dt
import threading
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from tests.until import until
from tests.world import World

from loradex.db.async_pool import AsyncPool
from loradex.db.async_session import AsyncSession
from loradex.db.pool import Pool
from loradex.db.reconnect import repeat_through_outage
from loradex.db.session import USES_BEFORE_PREPARED, connect
from loradex.embedded import EmbeddedPostgres
from loradex.errors import ClientClosedError, DatabaseUnavailableError
from loradex.service.client import async_listener

FOREIGN = (
    *("default_transaction_isolation = 'repeatable read'", "default_transaction_isolation = 'serializable'"),
    *("default_transaction_read_only = on", "row_security = off", "array_nulls = off"),
    *(
        "datestyle = 'German'",
        "intervalstyle = 'iso_8601'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
    ),
    *("standard_conforming_strings = off", "timezone = 'Asia/Kathmandu'", "search_path = 'nowhere'"),
    *(
        "transform_null_equals = on",
        "plan_cache_mode = 'force_custom_plan'",
        "client_min_messages = 'debug5'",
    ),
    *("quote_all_identifiers = on", "statement_timeout = '1ms'", "lock_timeout = '1ms'"),
    *("synchronous_commit = off", "client_encoding = 'LATIN1'", "default_text_search_config = 'simple'"),
)


@pytest.mark.parametrize("setting", FOREIGN)
def test_a_job_goes_its_way_under_foreign_defaults(
    world: World, database_url: str, postgres: EmbeddedPostgres, setting: str
) -> None:
    name = database_url.rpartition("/")[2]
    with connect(postgres.url) as admin:
        admin.execute(f"alter database {name} set {setting}".encode())
    with connect(database_url) as first, connect(database_url) as second:
        one, two = (World(connection, world.centres, world.rng) for connection in (first, second))
        for asking in (one, two):
            (answer,) = asking.answered(
                {"prompt": "Größe \\x41 日本", "top_p": 1.0, "seed": 3, "expected_task": None}
            )
            told = asking.value("select loradex.explain(%s)", answer)
            assert told["prompt"] == "Größe \\x41 日本"
            assert isinstance(asking.value("select created_at from loradex.answers limit 1"), dt.datetime)
        assert two.rows("select * from loradex.verify_audit_chain()") == []
        assert first.execute("show synchronous_commit").fetchone() == ("on",)


LIMITS = (
    *("statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"),
    *("lock_timeout", "transaction_timeout"),
)


def test_limits_that_are_too_short_are_lengthened_and_others_stay(
    database_url: str, postgres: EmbeddedPostgres
) -> None:
    name = database_url.rpartition("/")[2]

    def in_force(value: str) -> set[str]:
        with connect(postgres.url) as admin:
            for limit in LIMITS:
                admin.execute(f"alter database {name} set {limit} = '{value}'".encode())
        with connect(database_url) as session:
            return {str(row[0]) for limit in LIMITS for row in session.execute(f"show {limit}".encode())}

    assert in_force("9s") == {"1min", "10s", "2min"}
    assert in_force("1h") == {"1h"}
    assert in_force("0") == {"0"}


def test_why_there_is_no_connection_is_said_at_once(database_url: str) -> None:
    """A pool does not try for long what cannot be, and the advice fits the cause."""
    parts = urlsplit(database_url)
    for netloc, path, advice in (
        (f"{parts.username}:wrong@{parts.hostname}:{parts.port}", parts.path, "correct the password"),
        (parts.netloc, "/nowhere", "correct user and database"),
        (f"{parts.username}:wrong@{parts.hostname}:1", parts.path, "loradex up"),
    ):
        pool = Pool(urlunsplit(parts._replace(netloc=netloc, path=path)), size=4)
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match=advice) as refused, pool.session():
            pass
        assert time.monotonic() - started < 4
        assert "\n" not in str(refused.value)


def test_a_pool_closes_what_is_idle_and_replaces_what_was_cut(
    database_url: str, connection: psycopg.Connection[Any]
) -> None:
    count = "select count(*) from pg_stat_activity where application_name = 'pooled'"
    pool = Pool(database_url, size=3, application="pooled", idle_seconds=0.2)
    with pool.session(), pool.session(), pool.session() as last:
        assert connection.execute(count).fetchone() == (3,)
    connection.execute("select pg_terminate_backend(%s, 5000)", (last.info.backend_pid,))
    with pool.session() as again:
        assert again.execute("select 1").fetchone() == (1,)
    until(lambda: connection.execute(count).fetchone() == (0,))
    pool.close()


CHANGED = "drop function if exists told(); create function told() returns {} language sql as 'select {}'"
TELL = "select told()"


def test_what_was_prepared_before_an_upgrade_is_refused_once(
    database_url: str, connection: psycopg.Connection[Any]
) -> None:
    """One session says so; after that neither it nor the others of its pool, as old as it, are used."""
    connection.execute(CHANGED.format("int", "1").encode())
    pool = Pool(database_url, size=2)
    with pool.session() as one, pool.session() as other:
        for _ in range(2 * USES_BEFORE_PREPARED):
            assert one.execute(TELL).fetchone() == other.execute(TELL).fetchone() == (1,)
    connection.execute(CHANGED.format("text", "''one''").encode())
    with (
        pytest.raises(DatabaseUnavailableError, match="the database was upgraded meanwhile"),
        pool.session() as old,
    ):
        old.execute(TELL)
    for _ in range(2):
        with pool.session() as new:
            assert new.execute(TELL).fetchone() == ("one",)
    assert one.closed
    assert other.closed
    pool.close()


def test_what_was_prepared_before_an_upgrade_is_refused_once_in_asyncio_too(
    database_url: str, connection: psycopg.Connection[Any]
) -> None:
    async def told(pool: AsyncPool) -> tuple[Any, ...] | None:
        async with pool.session() as session:
            return await (await session.execute(TELL)).fetchone()

    async def walk() -> None:
        pool = AsyncPool(database_url, size=2)
        async with pool.session() as one, pool.session() as other:
            for _ in range(2 * USES_BEFORE_PREPARED):
                await one.execute(TELL)
                await other.execute(TELL)
        connection.execute(CHANGED.format("text", "''one''").encode())
        with pytest.raises(DatabaseUnavailableError, match="the database was upgraded meanwhile"):
            await told(pool)
        assert [await told(pool) for _ in range(2)] == [("one",), ("one",)]
        assert one.closed
        assert other.closed
        await pool.close()

    connection.execute(CHANGED.format("int", "1").encode())
    asyncio.run(walk())


def test_a_look_for_outcomes_gives_up_a_session_of_before_an_upgrade(
    database_url: str, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_listener, "ENDED", "select told() where %s = '{}'::uuid[] limit 0")

    async def walk() -> None:
        pool = AsyncPool(database_url)

        async def look() -> AsyncSession:
            async with pool.lent() as session:
                assert await async_listener._ended(session, [], None) == []
            return session

        sessions = {id(one): one for one in [await look() for _ in range(2 * USES_BEFORE_PREPARED)]}
        (old,) = sessions.values()
        connection.execute(CHANGED.format("text", "''one''").encode())
        with pytest.raises(DatabaseUnavailableError, match="the database was upgraded meanwhile"):
            await look()
        assert old.closed
        assert await look() is not old
        await pool.close()

    connection.execute(CHANGED.format("int", "1").encode())
    asyncio.run(walk())


def test_a_caller_does_not_see_that_the_database_was_upgraded(
    database_url: str, connection: psycopg.Connection[Any]
) -> None:
    """What the session refuses is asked of another one: nothing can have been done."""
    connection.execute(CHANGED.format("int", "1").encode())
    pool = Pool(database_url)

    def told() -> tuple[Any, ...] | None:
        with pool.session() as session:
            return session.execute(TELL).fetchone()

    assert {told() for _ in range(2 * USES_BEFORE_PREPARED)} == {(1,)}
    connection.execute(CHANGED.format("text", "''one''").encode())
    assert repeat_through_outage(0, told) == ("one",)
    pool.close()


@pytest.mark.parametrize("early", [False, True], ids=["in a call", "before its first call"])
def test_who_waits_for_a_silent_server_is_hung_up_on(
    database_url: str, connection: psycopg.Connection[Any], *, early: bool
) -> None:
    """Only a call that has lasted for so long ends; after that the pool is of no use."""

    def sleep(session: psycopg.Connection[Any]) -> None:
        session.execute("select pg_sleep(600)")

    pool = Pool(database_url, application="waits for long", prepare=sleep if early else None)
    told: list[Exception] = []

    def wait() -> None:
        try:
            with pool.session() as session:
                sleep(session)
        except DatabaseUnavailableError as error:
            told.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    asked = (
        "select true from pg_stat_activity where application_name = 'waits for long' and query ~ 'pg_sleep'"
    )
    until(lambda: connection.execute(asked).fetchone())
    pool.hang_up(600)
    assert waiter.is_alive()
    pool.hang_up(0)
    waiter.join()
    assert len(told) == 1
    with pytest.raises(ClientClosedError, match="did not answer"), pool.session():
        pass
    left = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'waits for long'"
    connection.execute(left)


def test_a_connection_whose_preparation_failed_is_closed(database_url: str) -> None:
    made: list[psycopg.Connection[Any]] = []

    def failing(connection: psycopg.Connection[Any]) -> None:
        made.append(connection)
        connection.execute("select no_such_thing()")

    database = Pool(database_url, prepare=failing)
    for _ in range(2):
        with pytest.raises(Exception, match="no_such_thing"), database.session():
            pass
    assert [connection.closed for connection in made] == [True, True]


def test_a_connection_that_cannot_be_set_up_is_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch, connection: psycopg.Connection[Any]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("loradex.db.session.SETTLE", "set nonsense.nonsense.nonsense = off off")
        with pytest.raises(psycopg.Error):
            connect(database_url, application="half set up")
    left = connection.execute(
        "select count(*) from pg_stat_activity where application_name = 'half set up' and state <> 'idle'"
    ).fetchone()
    assert left == (0,)


def test_what_was_closed_stays_closed(database_url: str) -> None:
    database = Pool(database_url)
    with database.session() as connection:
        connection.execute("select 1")
    database.close()
    with pytest.raises(Exception, match="was closed"), database.session():
        pass
    assert ClientClosedError.code == "client_closed"
