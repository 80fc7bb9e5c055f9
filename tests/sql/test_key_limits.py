"""Keys are rotated and limited: a secret follows another, servers share one count, the queue holds each to its part."""

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.fix_db import Connection, RoleUrl
from tests.sql.test_api_keys import ALICE, BOB, acting, ask, make, refusal
from tests.until import until
from tests.world import World

from loradex.db.session import connect

HASH = hashlib.sha256


def take(connection: Connection, key: str) -> tuple[Any, ...]:
    """Limit, granted, remaining, seconds until all are back, seconds until one is."""
    row = connection.execute("select * from loradex.take_requests(%s)", (key,)).fetchone()
    assert row is not None
    return row


@pytest.fixture
def server(world: World, role_url: RoleUrl) -> Iterator[Connection]:
    """The one login of the API."""
    with connect(role_url("loradex_client", member=True)) as opened:
        yield opened


def test_after_a_rotation_both_secrets_are_good_for_a_while(world: World, server: Connection) -> None:
    key = make(world.connection, "alice", ALICE)
    with acting(server, ALICE):
        mine = ask(server)
    end = world.value(
        "select loradex.rotate_api_key(%s, %s, '2 hours') - now()", key, HASH(b"second").digest()
    )
    assert 7100 < end.total_seconds() <= 7200
    for secret in (ALICE, "second"):
        with acting(server, secret):
            assert server.execute("select id from loradex.jobs").fetchall() == [(mine,)]
    world.connection.execute("update loradex.api_keys set old_until = now()")
    assert refusal(server, "select loradex.authenticate(%s)", ALICE) == "LX011"
    # Of two rotations the first secret is refused, however long it was to be kept.
    world.value("select loradex.rotate_api_key(%s, %s, '2 hours')", key, HASH(b"third").digest())
    world.value("select loradex.rotate_api_key(%s, %s, '0')", key, HASH(b"fourth").digest())
    for secret in ("second", "third"):
        assert refusal(server, "select loradex.authenticate(%s)", secret) == "LX011"
    with acting(server, "fourth"):
        pass
    world.value("select loradex.rotate_api_key(%s, %s, '1 hour')", key, HASH(b"fifth").digest())
    world.value("select loradex.revoke_api_key(%s)", key)
    for secret in ("fourth", "fifth"):
        assert refusal(server, "select loradex.authenticate(%s)", secret) == "LX011"
    assert world.value("select count(*) from loradex.api_keys") == 1


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        ("{key}, 'short', '1 hour'", "LX001"),
        ("{key}, null, '1 hour'", "LX001"),
        ("{key}, sha256('x'), '-1 s'", "LX001"),
        ("{key}, sha256('x'), '366 days'", "LX001"),
        ("{key}, sha256('x'), null", "LX001"),
        ("{key}, sha256('lx_alice'), '1 hour'", "LX001"),
        ("{gone}, sha256('x'), '1 hour'", "LX001"),
        ("null, sha256('x'), '1 hour'", "LX002"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused(scratch: World, arguments: str, state: str) -> None:
    key, gone = make(scratch.connection, "alice", ALICE), make(scratch.connection, "alice", BOB)
    scratch.value("select loradex.revoke_api_key(%s)", gone)
    with pytest.raises(psycopg.Error) as refused:
        scratch.rows(f"select loradex.rotate_api_key({arguments.format(key=key, gone=gone)})")
    assert refused.value.sqlstate == state


@pytest.mark.parametrize("limits", ["0, 1", "1, 0", "1000001, 1", "null, 100000001"])
def test_limits_have_a_range(scratch: World, limits: str) -> None:
    key = make(scratch.connection, "alice", ALICE)
    with pytest.raises(psycopg.Error) as refused:
        scratch.rows(f"select loradex.limit_api_key({key}, {limits})")
    assert refused.value.sqlstate == "LX001"


def test_a_minute_is_taken_in_twentieths_by_all_servers_together(
    world: World, server: Connection, role_url: RoleUrl
) -> None:
    key = make(world.connection, "alice", ALICE, requests_a_minute=60)
    make(world.connection, "bob", BOB)
    with connect(role_url("loradex_client")) as another:
        shares = [take(one, ALICE) for one in (server, another, another, server)]
        assert [share[:2] for share in shares] == 4 * [(60, 3)]
        # One is back each second, and the test takes less than ten.
        assert 57 - 9 <= shares[3][2] <= 57 - 9 + 10
        world.connection.execute(
            "update loradex.api_key_rates set full_at = clock_timestamp() + interval '60 s'"
        )
        limit, granted, remaining, full_in, next_in = take(another, ALICE)
    assert (limit, granted, remaining) == (60, 0, 0)
    assert 55 < full_in <= 60
    assert 0 < next_in <= 1
    assert take(server, BOB) == (None, None, None, None, None)
    assert world.rows("select key_id from loradex.api_key_rates") == [(key,)]
    # They come back evenly: half a minute later half of them are there.
    world.connection.execute("update loradex.api_key_rates set full_at = full_at - interval '30 s'")
    assert take(server, ALICE)[1] == 3
    assert 24 <= take(server, ALICE)[2] <= 34
    # A limit that is raised counts at once for whoever comes; one that is taken away too.
    world.rows("select loradex.limit_api_key(%s, 6000, null)", key)
    assert take(server, ALICE)[1] == 300
    world.rows("select loradex.limit_api_key(%s, null, null)", key)
    assert take(server, ALICE)[0] is None


def test_taking_needs_a_good_key(world: World, server: Connection) -> None:
    gone = make(world.connection, "alice", ALICE, requests_a_minute=60)
    world.value("select loradex.revoke_api_key(%s)", gone)
    for key in (ALICE, "lx_none", None):
        assert refusal(server, "select loradex.take_requests(%s)", key) == "LX011"
    assert world.value("select count(*) from loradex.api_key_rates") == 0


def test_a_key_has_its_part_of_the_queue(world: World, server: Connection) -> None:
    make(world.connection, "alice", ALICE, max_waiting=2)
    make(world.connection, "alice", "lx_second")
    make(world.connection, "bob", BOB, max_waiting=2)
    three = "select count(*) from loradex.enqueue_jobs(%s)"
    with acting(server, ALICE):
        assert refusal(server, three, Jsonb([{"prompt": "Is it?"}] * 3)) == "LX008"
        ask(server)
        ask(server)
        assert refusal(server, three, Jsonb([{"prompt": "Is it?"}])) == "LX008"
    # Neither another tenant nor another key of hers is held up.
    for other in ("lx_second", BOB):
        with acting(server, other):
            ask(server)
    world.claim(rows=1)
    with acting(server, ALICE):
        ask(server)
        assert refusal(server, three, Jsonb([{"prompt": "Is it?"}])) == "LX008"
    handed_in = (
        "select owner, api_key_id is not null, count(*)::int from loradex.jobs group by 1, 2 order by 1"
    )
    assert world.rows(handed_in) == [
        ("alice", True, 4),
        ("bob", True, 1),
    ]


def test_asking_again_needs_no_place(world: World, server: Connection) -> None:
    make(world.connection, "alice", ALICE, max_waiting=1)
    make(world.connection, "alice", "lx_second")
    make(world.connection, "bob", BOB, max_waiting=1)
    with acting(server, ALICE):
        first = ask(server, idempotency_key="order-17")
        assert ask(server, idempotency_key="order-17") == first
        again = Jsonb([{"prompt": "Is it?", "idempotency_key": key} for key in ("order-17", "order-18")])
        assert refusal(server, "select loradex.enqueue_jobs(%s)", again) == "LX008"
    with acting(server, BOB):
        # Another owner's key is nobody's.
        assert ask(server, idempotency_key="order-17") != first
        assert ask(server, idempotency_key="order-17") != first
    with acting(server, "lx_second"):
        assert ask(server, idempotency_key="order-17") == first


def test_asking_again_with_another_key_of_hers_is_the_same_request(world: World, server: Connection) -> None:
    make(world.connection, "alice", ALICE)
    make(world.connection, "alice", "lx_second")
    with acting(server, ALICE):
        first = ask(server, idempotency_key="order-17")
    with acting(server, "lx_second"):
        assert ask(server, idempotency_key="order-17") == first


def test_two_who_ask_at_once_do_not_count_past_each_other(
    world: World, server: Connection, role_url: RoleUrl
) -> None:
    make(world.connection, "alice", ALICE, max_waiting=1)
    make(world.connection, "bob", BOB, max_waiting=1)
    told: list[str | None] = []

    def second() -> None:
        with connect(role_url("loradex_client")) as other, acting(other, ALICE):
            told.append(refusal(other, "select loradex.enqueue_jobs(%s)", Jsonb([{"prompt": "Is it?"}])))

    thread = threading.Thread(target=second)
    with acting(server, ALICE):
        ask(server)
        thread.start()
        until(
            lambda: world.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == 1
        )
        # Whoever has another key does not wait with her.
        with connect(role_url("loradex_client")) as other, acting(other, BOB):
            ask(other)
    thread.join()
    assert told == ["LX008"]
