"""Keys of the API: one login serves many tenants, and reaches nothing of those whose key it was not shown."""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.fix_db import Connection, RoleUrl
from tests.world import World

from loradex.db.session import connect

ALICE, BOB = "lx_alice", "lx_bob"
GUESSES = (
    "{owner}",
    "{owner} ask",
    "{owner} ask " + "0" * 64,
    "{owner} ask {secretless}",
    "ask {owner} ask",
    " ",
    "null",
    "{owner}'",
)
"""What a session might write into the setting by itself."""


def make(connection: Connection, owner: str, key: str, **options: Any) -> int:
    named = ", ".join(f"{name} => %({name})s" for name in options)
    row = connection.execute(
        f"select loradex.create_api_key(%(owner)s, 'of a test', %(hash)s{', ' + named if named else ''})".encode(),
        {"owner": owner, "hash": hashlib.sha256(key.encode()).digest(), **options},
    ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def acting(connection: Connection, key: str, scope: str = "ask") -> Iterator[Connection]:
    with connection.transaction():
        connection.execute("select loradex.authenticate(%s, %s)", (key, scope))
        yield connection


def ask(connection: Connection, prompt: str = "Is it late?", **job: Any) -> UUID:
    row = connection.execute(
        "select job_id from loradex.enqueue_jobs(%s)", (Jsonb([{"prompt": prompt, **job}]),)
    ).fetchone()
    assert row is not None
    assert isinstance(row[0], UUID)
    return row[0]


def seen(connection: Connection) -> set[UUID]:
    """The jobs that the session sees, by the table and by the function alike."""
    table = {row[0] for row in connection.execute("select id from loradex.jobs")}
    assert table == {row[0] for row in connection.execute("select job_id from loradex.own_jobs()")}
    return table


def refusal(connection: Connection, statement: str, *values: object) -> str | None:
    with pytest.raises(psycopg.Error) as refused, connection.transaction():
        connection.execute(statement.encode(), values)
    return refused.value.sqlstate


@pytest.fixture
def server(world: World, role_url: RoleUrl) -> Iterator[Connection]:
    """The one login of the API."""
    with connect(role_url("loradex_client", member=True)) as opened:
        yield opened


def test_each_key_reaches_its_owners_rows_alone(world: World, server: Connection) -> None:
    make(world.connection, "alice", ALICE)
    make(world.connection, "bob", BOB)
    make(world.connection, "alice", "lx_second", scopes=["read"])
    with acting(server, ALICE):
        hers = ask(server)
        assert seen(server) == {hers}
    with acting(server, BOB):
        his = ask(server)
        assert seen(server) == {his}
        assert server.execute("select * from loradex.job_outcome(%s)", (hers,)).fetchall() == []
        assert refusal(server, "select loradex.cancel_jobs(array[%s::uuid])", hers) == "LX003"
    with acting(server, "lx_second", "read"):
        assert seen(server) == {hers}
    assert seen(server) == set()
    assert world.rows("select owner, count(*)::int from loradex.jobs group by 1 order by 1") == [
        ("alice", 1),
        ("bob", 1),
    ]
    with acting(server, ALICE):
        server.execute("select loradex.cancel_jobs(array[%s])", (hers,))
    assert world.rows("select cancelled_by, error_message from loradex.jobs where id = %s", hers) == [
        ("alice", "alice cancelled it while it was queued")
    ]


def test_answers_are_their_owners(world: World, server: Connection) -> None:
    make(world.connection, "alice", ALICE)
    make(world.connection, "bob", BOB)
    with acting(server, ALICE):
        job = ask(server)
    query = world.near("boats")
    answer = world.record(job, world.claim()[job], world.route([job], [query])[job])
    with acting(server, BOB):
        assert server.execute("select * from loradex.answers").fetchall() == []
        assert refusal(server, "select loradex.explain(%s)", answer) == "LX004"
    assert refusal(server, "select loradex.explain(%s)", answer) == "LX004"
    with acting(server, ALICE):
        assert server.execute("select id from loradex.answers").fetchall() == [(answer,)]


@pytest.mark.parametrize("guess", GUESSES)
def test_no_session_can_say_by_itself_for_whom_it_acts(world: World, server: Connection, guess: str) -> None:
    make(world.connection, "alice", ALICE)
    with acting(server, ALICE):
        ask(server)
    owner = world.value("select id from loradex.owners where name = 'alice'")
    said = guess.format(owner=owner, secretless=hashlib.sha256(f"{owner} ask".encode()).hexdigest())
    server.execute("select set_config('loradex.tenant', %s, false)", (said,))
    assert seen(server) == set()
    assert refusal(server, 'select loradex.enqueue_jobs(\'[{"prompt": "Mine?"}]\'::text)') == "LX011"
    assert refusal(server, "select loradex.seal_tenant(%s, 'ask', '1')", str(owner)) == "42501"
    assert refusal(server, "select * from loradex.tenant_secret") == "42501"
    assert refusal(server, "select * from loradex.api_keys") == "42501"


def test_a_seal_is_of_one_transaction(world: World, server: Connection, role_url: RoleUrl) -> None:
    """What was seen of one is worth nothing in the next, nor in another session that stands in no transaction of it."""
    make(world.connection, "alice", ALICE)
    with acting(server, ALICE):
        ask(server)
        row = server.execute("select current_setting('loradex.tenant')").fetchone()
    assert row is not None
    assert server.execute("select current_setting('loradex.tenant', true)").fetchone() == ("",)
    with connect(role_url("loradex_client")) as stranger:
        for other in (server, stranger):
            other.execute("select set_config('loradex.tenant', %s, false)", row)
            assert seen(other) == set()
    # Nor may what a key may do be changed within it.
    make(world.connection, "alice", "lx_reads", scopes=["read"])
    with acting(server, "lx_reads", "read"):
        server.execute(
            "select set_config('loradex.tenant', replace(current_setting('loradex.tenant'), 'read', 'ask'), true)"
        )
        assert seen(server) == set()


def test_a_seal_is_an_hmac(world: World) -> None:
    with world.connection.transaction():
        ((inner, outer),) = world.rows("select inner_key, outer_key from loradex.tenant_secret")
        key = bytes(one ^ 0x36 for one in inner)
        assert key == bytes(one ^ 0x5C for one in outer)
        assert (len(set(key[:32])) > 8, set(key[32:])) == (True, {0})
        sealed = world.value(
            "select format('1 ask 2 %%s %%s', pg_backend_pid(), extract(epoch from transaction_timestamp()))"
        )
        expected = f"1 ask 2 {hmac.new(key, sealed.encode(), 'sha256').hexdigest()}"
        assert world.value("select loradex.seal_tenant('1', 'ask', '2')") == expected


def test_wrong_revoked_expired_and_no_keys_are_refused_alike(world: World, server: Connection) -> None:
    revoked = make(world.connection, "alice", "lx_revoked")
    make(world.connection, "alice", "lx_expired", expires_at=world.value("select now() + interval '1 hour'"))
    world.connection.execute("update loradex.api_keys set expires_at = now() where expires_at is not null")
    assert world.value("select loradex.revoke_api_key(%s)", revoked)
    assert not world.value("select loradex.revoke_api_key(%s)", revoked)
    told = set()
    for key in ("lx_revoked", "lx_expired", "lx_wrong", "", None):
        with pytest.raises(psycopg.Error) as refused:
            server.execute("select loradex.authenticate(%s)", (key,))
        assert refused.value.sqlstate == "LX011"
        told.add(refused.value.diag.message_primary)
    assert len(told) == 1
    assert world.rows("select state from loradex.list_api_keys()") == [("revoked",), ("expired",)]


def test_a_key_that_may_read_hands_nothing_in(world: World, server: Connection) -> None:
    make(world.connection, "alice", ALICE)
    make(world.connection, "alice", "lx_reads", scopes=["read"])
    with acting(server, ALICE):
        job = ask(server)
    assert refusal(server, "select loradex.authenticate('lx_reads', 'ask')") == "42501"
    for statement in (
        'select loradex.enqueue_jobs(\'[{"prompt": "Mine?"}]\'::text)',
        f"select loradex.cancel_jobs(array['{job}'::uuid])",
    ):
        with acting(server, "lx_reads", "read"):
            assert refusal(server, statement) == "42501"


@pytest.mark.parametrize("role", ["loradex_reader", "loradex_worker", "loradex_admin", None])
def test_a_login_that_sees_more_serves_nobody(
    world: World, role_url: RoleUrl, database_url: str, role: str | None
) -> None:
    """Row-level security would hide nothing from it, so that a tenant would see all others."""
    make(world.connection, "alice", ALICE)
    with connect(database_url if role is None else role_url(role)) as connection:
        assert refusal(connection, "select loradex.authenticate(%s)", ALICE) == "42501"


def test_an_owner_of_keys_is_no_login_of_that_name(world: World, role_url: RoleUrl) -> None:
    url = role_url("loradex_client", member=True)
    with connect(url) as connection:
        name = connection.info.user
        mine = ask(connection)
        make(world.connection, name, ALICE)
        with acting(connection, ALICE):
            keyed = ask(connection)
            assert seen(connection) == {keyed}
        assert seen(connection) == {mine}


def test_a_use_is_noted_once_a_minute(world: World, server: Connection) -> None:
    make(world.connection, "alice", ALICE)
    used = "select last_used_at from loradex.api_keys"
    assert world.value(used) is None
    with acting(server, ALICE):
        pass
    first = world.value(used)
    assert first is not None
    with acting(server, ALICE):
        pass
    assert world.value(used) == first
    world.connection.execute("update loradex.api_keys set last_used_at = now() - interval '2 minutes'")
    # Who holds the row does not hold up who shows the key.
    with world.connection.transaction():
        world.rows("select from loradex.api_keys for update")
        with acting(server, ALICE):
            pass
    with acting(server, ALICE):
        pass
    assert world.value(used) > first


@pytest.mark.parametrize(
    "options",
    [
        {"scopes": ["admin"]},
        {"scopes": []},
        {"scopes": ["ask", None]},
        {"expires_at": "2020-01-01"},
    ],
)
def test_a_key_that_cannot_be_is_refused(scratch: World, options: dict[str, Any]) -> None:
    with pytest.raises(psycopg.Error) as refused:
        make(scratch.connection, "alice", ALICE, **options)
    assert refused.value.sqlstate == "LX001"


@pytest.mark.parametrize("owner", ["", "two words", "x" * 101, "line\nend"])
def test_an_owner_has_a_name(scratch: World, owner: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        make(scratch.connection, owner, ALICE)
    assert refused.value.sqlstate == "LX001"
