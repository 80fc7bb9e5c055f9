"""`loradex erase`: it asks, erases, says how much, and both verifiers call the chain intact afterwards."""

import io
import json
from pathlib import Path

import pytest
from tests.fix_db import RoleUrl
from tests.integration.test_audit_export import Exported
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
