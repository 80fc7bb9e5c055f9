"""Workers announce themselves: who lives, what it can do, and whether a job has anybody to answer it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from tests.fix_db import RoleUrl
from tests.until import until
from tests.world import BASE_MODEL, ENCODER, World

from loradex.db.session import connect
from loradex.embedded.queue import queue
from loradex.embedded.queue import silence as silence_of
from loradex.worker.presence import SIGN_OF_LIFE_SECONDS

ANNOUNCE = (
    "select loradex.announce_worker(worker => %s, base_model => %s, encoder => %s, device => 'cpu', "
    "dtype => 'float32', adapter_roots => %s, batch_rows => 8, versions => '{\"loradex\": \"0.1.0\"}', token => %s)"
)
TOKEN, OTHER = "a" * 32, "b" * 32


def announce(world: World, name: str = "w1", token: str | None = TOKEN, encoder: str = ENCODER) -> None:
    world.rows(ANNOUNCE, name, BASE_MODEL, encoder, ["/srv/adapters"], token)


def living(world: World) -> dict[str, bool]:
    return dict(world.rows("select name, living from loradex.worker_health"))


def silence(world: World, seconds: int) -> None:
    world.rows("update loradex.workers set seen_at = now() - make_interval(secs => %s) returning 1", seconds)


def test_a_worker_lives_until_it_is_silent_or_withdraws(scratch: World) -> None:
    announce(scratch)
    assert living(scratch) == {"w1": True}
    assert scratch.rows("select adapter_roots, version, device from loradex.worker_health") == [
        (["/srv/adapters"], "0.1.0", "cpu")
    ]
    silence(scratch, 21)
    assert living(scratch) == {"w1": False}
    announce(scratch)
    assert living(scratch) == {"w1": True}
    assert scratch.value("select loradex.withdraw_worker('w1', %s)", TOKEN)
    assert living(scratch) == {}


def test_the_longest_silence_is_a_setting(scratch: World) -> None:
    scratch.rows("select loradex.change_setting('worker_silence_seconds', '60')")
    announce(scratch)
    silence(scratch, 50)
    assert living(scratch) == {"w1": True}


def test_no_setting_counts_a_worker_as_gone_between_two_signs_of_life(scratch: World) -> None:
    least = scratch.value("select minimum from loradex.settings where name = 'worker_silence_seconds'")
    assert least >= 2 * SIGN_OF_LIFE_SECONDS
    with (
        pytest.raises(psycopg.Error, match="worker_silence_seconds") as refused,
        scratch.connection.transaction(),
    ):
        scratch.rows("select loradex.change_setting('worker_silence_seconds', %s)", str(least - 1))
    assert refused.value.sqlstate == "LX001"


def test_jobs_that_no_living_worker_takes_are_counted(scratch: World) -> None:
    look = "select queued, living_workers, unserved from loradex.queue_health"
    scratch.enqueue({}, {})
    assert scratch.rows(look) == [(2, 0, 2)]
    announce(scratch, "stranger", encoder="another")
    assert scratch.rows(look) == [(2, 1, 2)]
    announce(scratch)
    assert scratch.rows(look) == [(2, 2, 0)]
    silence(scratch, 60)
    assert scratch.rows(look) == [(2, 0, 2)]


def test_a_name_is_its_workers(world: World, role_url: RoleUrl) -> None:
    """Neither another token nor another login speaks for a worker."""
    with connect(role_url("loradex_worker", member=True)) as connection:
        announce(World(connection, world.centres, world.rng))
    for token in (OTHER, TOKEN, None):
        assert not world.value("select loradex.withdraw_worker('w1', %s)", token)
        with pytest.raises(psycopg.Error, match="name of its own") as refused:
            announce(world, token=token)
        assert refused.value.sqlstate == "LX001"
    assert living(world) == {"w1": True}


def test_the_name_of_a_killed_worker_is_its_logins_again(world: World, role_url: RoleUrl) -> None:
    """Not while it may still speak, and never another login's; what it has claimed stays bound to its own token."""
    (job,) = world.enqueue({})
    (its_login, another) = (role_url("loradex_worker", member=True) for _ in range(2))
    with connect(its_login) as opened, connect(another) as opened_too:
        login, stranger = (World(one, world.centres, world.rng) for one in (opened, opened_too))
        announce(login)
        claim = "select id from loradex.claim_jobs('w1', 9, '1 hour', 3, token => %s)"
        assert login.rows(claim, TOKEN) == [(job,)]
        since = world.value("select started_at from loradex.workers")
        for silent, who, token in ((15, login, OTHER), (25, stranger, OTHER), (25, stranger, TOKEN)):
            silence(world, silent)
            with pytest.raises(psycopg.Error, match="name of its own") as refused:
                announce(who, token=token)
            assert refused.value.sqlstate == "LX001"

        announce(login, token=OTHER)
        assert living(world) == {"w1": True}
        assert world.value("select started_at from loradex.workers") > since
        extend = "select loradex.extend_lease('w1', %s, '1 hour', token => %s)"
        assert [login.value(extend, [job], token) for token in (OTHER, TOKEN)] == [0, 1]
        # The one that was only cut off comes back, and must take another name.
        with pytest.raises(psycopg.Error, match="name of its own"):
            announce(login)
        with pytest.raises(psycopg.Error, match="name of its own"):
            login.rows(claim, TOKEN)
        assert not login.value("select loradex.withdraw_worker('w1', %s)", TOKEN)
        assert login.value("select loradex.withdraw_worker('w1', %s)", OTHER)


def test_a_worker_that_speaks_at_the_last_moment_keeps_its_name(world: World, role_url: RoleUrl) -> None:
    url = role_url("loradex_worker", member=True)
    with connect(url) as its_own, connect(url) as other, ThreadPoolExecutor(1) as thread:
        announce(World(its_own, world.centres, world.rng))
        silence(world, 25)
        with its_own.transaction():
            announce(World(its_own, world.centres, world.rng))
            taking = thread.submit(announce, World(other, world.centres, world.rng), token=OTHER)
            until(lambda: world.value("select pg_blocking_pids(%s) <> '{}'", other.info.backend_pid))
        with pytest.raises(psycopg.Error, match="name of its own"):
            taking.result()
    assert living(world) == {"w1": True}


def test_a_bad_token_is_refused_before_anything_is_looked_at(scratch: World) -> None:
    """Even where no worker has the name, and however the statement was planned."""
    scratch.connection.execute("set local plan_cache_mode = force_generic_plan")
    with pytest.raises(psycopg.Error, match="32 to 200") as refused:
        scratch.rows("select loradex.withdraw_worker('nobody', 'short')")
    assert refused.value.sqlstate == "LX001"


def test_one_login_cannot_fill_the_list(scratch: World) -> None:
    scratch.rows("select loradex.change_setting('max_workers', '2')")
    announce(scratch, "one")
    announce(scratch, "two")
    with pytest.raises(psycopg.Error, match="max_workers") as refused, scratch.connection.transaction():
        announce(scratch, "three")
    assert refused.value.sqlstate == "LX001"
    silence(scratch, 86_401)
    announce(scratch, "three")
    assert living(scratch) == {"three": True}


def test_status_names_what_no_worker_takes_and_who_is_silent(world: World, database_url: str) -> None:
    world.enqueue({})
    found = queue(database_url)
    assert not found.healthy
    assert "1 are for a base model or encoder that no living worker has" in found.note
    announce(world)
    assert queue(database_url).healthy
    assert silence_of(database_url, "w1") is None
    silence(world, 40)
    assert silence_of(database_url, "w1") == 40


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker": ""},
        {"worker": "w" * 201},
        {"base_model": None},
        {"adapter_roots": [None]},
        {"adapter_roots": ["/x"] * 101},
        {"adapter_roots": ["x" * 5000]},
        {"batch_rows": 0},
        {"versions": "3"},
        {"versions": '{"torch": 2}'},
        {"versions": '{"torch": "' + "x" * 20_000 + '"}'},
        {"token": "short"},
        {"token": "x" * 201},
    ],
)
def test_a_bad_announcement_is_refused(scratch: World, wrong: dict[str, Any]) -> None:
    given = {
        "worker": "w",
        "base_model": "b",
        "encoder": "e",
        "device": "cpu",
        "dtype": "float32",
        "adapter_roots": [],
        "batch_rows": 1,
        "versions": "{}",
        "token": TOKEN,
    } | wrong
    call = ", ".join(
        f"{name} => %s" + ("::jsonb" if name == "versions" else "::text[]" if name == "adapter_roots" else "")
        for name in given
    )
    with pytest.raises(psycopg.Error) as refused, scratch.connection.transaction():
        scratch.rows(f"select loradex.announce_worker({call})", *given.values())
    assert refused.value.sqlstate == "LX001"
    assert living(scratch) == {}
