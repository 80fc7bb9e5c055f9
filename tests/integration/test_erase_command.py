"""`loradex erase`: it asks, erases, says how much, and both verifiers call the chain intact afterwards."""

import io
import json
from pathlib import Path

import pytest
from tests.exported import Exported
from tests.fix_db import RoleUrl
from tests.world import World

from loradex.service import cli
from loradex.service.audit import Audit

WORDS = ("--reason", "asked to be forgotten", "--by", "privacy")


def test_erase(
    world: World,
    role_url: RoleUrl,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    world.answered({"prompt": "secret"}, {"choices": ["yes", "no"]}, {})
    job, owner = world.rows("select job_id, owner from loradex.answers where position = 1")[0]
    head = world.value("select chain_hash from loradex.audit_head()")
    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_admin"))

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert cli.run(["erase", "--job", str(job), *WORDS]) == 1
    assert world.value("select count(*) from loradex.erasures") == 0
    capsys.readouterr()

    assert cli.run(["erase", "--job", str(job), "--yes", *WORDS]) == 0
    assert capsys.readouterr().out == "erased: the texts of 1 jobs, 1 of them answered\n"
    assert cli.run(["erase", "--owner", owner, "--before", "2999-01-01", "--yes", "--json", *WORDS]) == 0, (
        capsys.readouterr().err
    )
    assert json.loads(capsys.readouterr().out) == {"jobs": 2, "answers": 2}
    assert world.rows("select count(*), count(prompt), count(query) from loradex.answers") == [(3, 0, 0)]

    assert cli.run(["erase", *WORDS]) == 2
    assert cli.run(["erase", "--owner", "nobody", *WORDS]) == 2
    assert cli.run(["erase", "--before", "yesterday", *WORDS]) == 2

    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_reader"))
    capsys.readouterr()
    assert cli.run(["audit", "verify", "--head", head]) == 0
    assert "3 of them erased" in capsys.readouterr().out
    with Audit.at(role_url("loradex_reader")) as audit:
        newest = audit.head()
        assert newest is not None
        assert newest.position == 5
    assert Exported(role_url("loradex_reader"), tmp_path).verify(head) == (0, ["intact"])


def test_a_name_is_not_taken_for_an_id(
    world: World, role_url: RoleUrl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two owners one is named by the other's id."""
    world.connection.execute(
        "insert into loradex.owners (name, role) values ('alice', 4), ('tmp', 5), ('alice', 6)"
    )
    alice, digits, namesake = (row[0] for row in world.rows("select id from loradex.owners order by id"))
    world.connection.execute("update loradex.owners set name = %s where id = %s", (str(alice), digits))
    for owner in (alice, digits, namesake):
        (job,) = world.enqueue({})
        world.connection.execute(
            "update loradex.jobs j set owner_id = o.id, owner = o.name from loradex.owners o "
            "where j.id = %s and o.id = %s",
            (job, owner),
        )
    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_admin"))

    def erased(*chosen: str) -> tuple[int, str]:
        capsys.readouterr()
        code = cli.run(["erase", *chosen, *WORDS])
        return code, capsys.readouterr().err

    for several, them in ((str(alice), (alice, digits)), ("alice", (alice, namesake))):
        code, said = erased("--owner", several, "--yes")
        assert code == 2
        assert [f"--owner-id {one} (" in said for one in them] == [True, True], said
    assert erased("--owner-id", str(digits), "--owner", "alice", "--yes")[0] == 2
    assert erased("--owner-id", str(namesake + 100), "--yes")[0] == 2
    assert erased("--owner", "9" * 5000, "--yes")[0] == 2
    assert world.value("select count(*) from loradex.erasures") == 0

    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, said = erased("--owner-id", str(digits))
    assert code == 0
    assert f"the texts of 1 jobs of {alice} (owner {digits})" in said
    left = world.rows("select owner_id from loradex.jobs where erased_at is null order by 1")
    assert left == [(alice,), (namesake,)]
    # An id that is nobody's name is enough.
    assert erased("--owner", str(namesake), "--yes")[0] == 0
    assert world.rows("select owner_id from loradex.jobs where erased_at is null") == [(alice,)]
