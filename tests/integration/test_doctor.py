"""`loradex doctor` names what is ill in a deployment, with the cure, and changes nothing."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.fix_db import Connection, RoleUrl
from tests.pooler import Pooler
from tests.world import World

from loradex.service.cli import run
from loradex.service.doctor import disk

Said = pytest.CaptureFixture[str]
Doctor = Callable[[], dict[str, dict[str, Any]]]


@pytest.fixture
def doctor(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: Said, tmp_path: Any
) -> Doctor:
    """Examines the test's database; gives its symptoms by check."""
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path))
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    monkeypatch.setenv("LORADEX_REDIS_URL", redis_url)

    def examine() -> dict[str, dict[str, Any]]:
        code = run(["doctor", "--json"])
        found = json.loads(capsys.readouterr().out)
        assert code == any(one["state"] == "ill" for one in found)
        assert all(one["cure"] for one in found if one["state"] in {"ill", "look"})
        return {one["check"]: one for one in found}

    return examine


def test_a_deployment_that_is_well(world: World, doctor: Doctor, capsys: Said) -> None:
    world.answered({})
    found = doctor()
    assert {one["check"]: one for one in found.values() if one["state"] == "ill"} == {
        "setting fsync": found["setting fsync"],  # the tests' own server
        "setting full_page_writes": found["setting full_page_writes"],
    }
    well = {check for check, one in found.items() if one["state"] == "well"}
    assert {
        *("postgres", "schema", "redis", "queue", "versions", "clock", "groups", "logins", "restored logins"),
        *("functions, triggers, grants", "memory of Postgres", "memory of Redis", "versions of workers"),
    } <= well
    assert found["heads kept elsewhere"]["state"] == "look"
    run(["doctor"])
    assert "LORADEX_ANCHOR" in capsys.readouterr().out


def test_what_is_ill_is_named_with_its_cure(
    world: World,
    connection: Connection,
    database_url: str,
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    world.answered({})
    connection.execute("insert into loradex.owners (name, role) values ('loradex_reader_login', 4)")
    connection.execute("drop trigger if exists refuse_change on loradex.answers")
    connection.execute("grant insert on loradex.jobs to loradex_reader")
    connection.execute("grant update on loradex.answers to loradex_reader")
    connection.execute(
        "create or replace function loradex.shown(value text) returns text language sql as $$ select value $$"
    )
    connection.execute("create role made_by_hand login in role loradex_client")
    database = database_url.rsplit("/", 1)[1]
    connection.execute(f"alter database {database} set work_mem = '64kB'".encode())
    connection.execute(f"grant temporary on database {database} to public".encode())
    monkeypatch.setattr(disk, "LITTLE_BYTES", 1 << 60)
    monkeypatch.setenv("LORADEX_ANCHOR", f"file://{tmp_path}/heads file://{tmp_path}")
    try:
        found = doctor()
    finally:
        connection.execute("drop role made_by_hand")
    assert found["login made_by_hand"]["cure"] == "run `loradex db login made_by_hand --role client`"
    assert "loradex_reader_login" in found["restored logins"]["note"]
    assert found["functions, triggers, grants"]["state"] == "ill"
    assert found["memory work_mem"]["state"] == "look"
    assert found["PUBLIC"]["state"] == "look"
    assert found["disk of LORADEX_HOME"]["state"] == "ill"
    assert "none is kept yet" in found[f"heads in {tmp_path}/heads"]["note"]
    assert "cannot be read" in found[f"heads in {tmp_path}"]["note"]


def test_old_heads_are_ill(
    world: World, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, capsys: Said, tmp_path: Any
) -> None:
    world.answered({})
    monkeypatch.setenv("LORADEX_ANCHOR", f"file://{tmp_path}/heads")
    assert run(["audit", "head", "--anchor"]) == 0
    capsys.readouterr()
    check = f"heads in {tmp_path}/heads"
    assert doctor()[check]["state"] == "well"
    kept = json.loads((tmp_path / "heads").read_text())
    (tmp_path / "heads").write_text(json.dumps({**kept, "at": "2026-01-01T00:00:00+00:00"}) + "\n")
    assert doctor()[check]["state"] == "ill"


def test_a_lesser_login_is_told_what_it_may_not_see(
    doctor: Doctor, role_url: RoleUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_client"))
    found = doctor()
    assert found["versions of workers"]["state"] == "unknown"
    assert found["groups"]["state"] == "well"


def test_a_server_that_is_away_is_one_line(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("LORADEX_DATABASE_URL", "postgresql://u:secret-7@127.0.0.1:1/x")
    monkeypatch.setenv("LORADEX_REDIS_URL", "redis://:secret-7@127.0.0.1:1/0")
    found = doctor()
    assert {found[part]["state"] for part in ("postgres", "schema", "redis")} == {"ill"}
    assert "secret-7" not in str(found)


def test_a_pooler_s_sessions_are_left_as_they_were(
    world: World, doctor: Doctor, pooler: Pooler, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.answered({})
    through = pooler.through(database_url)
    monkeypatch.setenv("LORADEX_DATABASE_URL", through)
    found = doctor()["functions, triggers, grants"]
    assert found["state"] == "well", found
    with psycopg.connect(through, prepare_threshold=None) as connection:
        for name in ("transaction_read_only", "default_transaction_read_only"):
            assert connection.execute(f"show {name}").fetchone() == ("off",)
