"""Vectors that are asked for by themselves: taken once, by whoever asked, and not kept."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.fix_db import Connection, RoleUrl
from tests.sql.test_api_keys import ALICE, BOB, acting, make
from tests.world import World

from loradex.db.session import connect

ASK = "select loradex.ask_embeddings(%s)"
TAKE = "select tokens, refusal, cardinality(vectors) from loradex.take_embeddings(%s)"
CLAIM = "select * from loradex.claim_embeddings('all-MiniLM-L6-v2')"
RECORD = "select loradex.record_embeddings(%s, %s::vector[], 7)"


@pytest.fixture
def server(world: World, role_url: RoleUrl) -> Iterator[Connection]:
    """The one login of the API, with keys of two tenants."""
    make(world.connection, "alice", ALICE)
    make(world.connection, "bob", BOB)
    with connect(role_url("loradex_client", member=True)) as opened:
        yield opened


@pytest.fixture
def worker(world: World, role_url: RoleUrl) -> Iterator[Connection]:
    with connect(role_url("loradex_worker")) as opened:
        yield opened


def asked(server: Connection, key: str, *texts: str) -> Any:
    with acting(server, key):
        return one(server, ASK, list(texts))[0]


def one(connection: Connection, statement: str, *values: Any) -> Any:
    return connection.execute(statement.encode(), values).fetchone()


def vector(world: World) -> str:
    return str(world.value("select query from loradex.retrievals limit 1"))


def test_they_are_taken_once_by_whoever_asked(world: World, server: Connection, worker: Connection) -> None:
    world.answered({"prompt": "Is it late?"})
    mine = asked(server, ALICE, "The clouds turn dark.", "A kettle whistles.")
    assert one(worker, CLAIM) == (mine, ["The clouds turn dark.", "A kettle whistles."])
    assert one(worker, CLAIM) is None
    with acting(server, ALICE):
        assert one(server, TAKE, mine) is None
    one(worker, RECORD, mine, [vector(world)] * 2)
    assert world.value("select texts from loradex.embeddings") is None
    with acting(server, BOB):
        assert one(server, TAKE, mine) is None
    assert one(server, TAKE, mine) is None
    with acting(server, ALICE):
        assert one(server, TAKE, mine) == (7, None, 2)
        assert one(server, TAKE, mine) is None
    # Whoever was slow finds nothing to write to.
    one(worker, RECORD, mine, [vector(world)])
    assert world.value("select count(*) from loradex.embeddings") == 0


def test_whoever_asked_may_leave(world: World, server: Connection, worker: Connection) -> None:
    leave = "select loradex.leave_embeddings(%s)"
    mine = asked(server, ALICE, "The clouds turn dark.")
    with acting(server, BOB):
        assert one(server, leave, mine) == (False,)
    assert one(server, leave, mine) == (False,)
    assert one(worker, CLAIM)[0] == mine
    with acting(server, ALICE):
        assert one(server, leave, mine) == (True,)
        assert one(server, leave, mine) == (False,)
    assert world.value("select count(*) from loradex.embeddings") == 0


def test_nobody_sees_the_texts(server: Connection, worker: Connection) -> None:
    asked(server, ALICE, "A secret")
    for connection in (server, worker):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select texts from loradex.embeddings")


def test_a_lost_worker_loses_them_to_another_and_old_ones_go(
    world: World, server: Connection, worker: Connection
) -> None:
    mine = asked(server, ALICE, "The clouds turn dark.")
    assert one(worker, CLAIM)[0] == mine
    world.connection.execute("update loradex.embeddings set claimed_at = now() - interval '3 minutes'")
    assert one(worker, CLAIM)[0] == mine
    world.connection.execute("update loradex.embeddings set created_at = now() - interval '11 minutes'")
    assert one(worker, CLAIM) is None
    assert world.value("select count(*) from loradex.embeddings") == 0


def test_an_owner_may_have_so_many_and_no_more(server: Connection) -> None:
    with acting(server, ALICE):
        server.execute("select loradex.ask_embeddings(array['x']) from generate_series(1, 64)")
    with pytest.raises(psycopg.Error) as refused:
        asked(server, ALICE, "x")
    assert refused.value.sqlstate == "LX008"
    asked(server, BOB, "x")


def test_wrong_vectors_are_refused(world: World, server: Connection, worker: Connection) -> None:
    world.answered({"prompt": "Is it late?"})
    mine = asked(server, ALICE, "x", "y")
    for vectors in ([vector(world)], ["[1]", "[1]"]):
        with pytest.raises(psycopg.Error) as refused:
            one(worker, RECORD, mine, vectors)
        assert refused.value.sqlstate == "LX005"
    with pytest.raises(psycopg.Error) as refused:
        asked(server, ALICE, "x", " ")
    assert refused.value.sqlstate == "LX001"
