"""A session relies on nothing that the server, the database or the login may have set otherwise."""

import datetime as dt
from typing import Any

import psycopg
import pytest
from tests.world import World

from loradex.db import reconnect
from loradex.db.reconnect import Reconnecting
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres

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


def test_a_connection_whose_preparation_failed_is_closed(database_url: str) -> None:
    made: list[psycopg.Connection[Any]] = []

    def failing(connection: psycopg.Connection[Any]) -> None:
        made.append(connection)
        connection.execute("select no_such_thing()")

    database = Reconnecting(database_url, failing)
    for _ in range(2):
        with pytest.raises(Exception, match="no_such_thing"), database.session():
            pass
    assert [connection.closed for connection in made] == [True, True]


def test_a_connection_that_cannot_be_set_up_is_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch, connection: psycopg.Connection[Any]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("loradex.db.session.RELIED_ON", "set nonsense.nonsense.nonsense = off off")
        with pytest.raises(psycopg.Error):
            connect(database_url, application="half set up")
    left = connection.execute(
        "select count(*) from pg_stat_activity where application_name = 'half set up' and state <> 'idle'"
    ).fetchone()
    assert left == (0,)


def test_what_was_closed_stays_closed(database_url: str) -> None:
    database = Reconnecting(database_url)
    with database.session() as connection:
        connection.execute("select 1")
    database.close()
    with pytest.raises(Exception, match="was closed"), database.session():
        pass
    assert reconnect.ClientClosedError.code == "client_closed"
