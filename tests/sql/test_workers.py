"""Workers announce themselves: who lives, what it can do, and whether a job has anybody to answer it."""

from typing import Any

import psycopg
import pytest
from tests.fix_db import RoleUrl
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
