"""`loradex db psql`, `dump`, `restore`: no password where others can read it, nothing half done, nobody else's rows."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.fix_api import made_key
from tests.fix_db import Connection, RoleUrl
from tests.world import World

from loradex.db.migrate import schema_state
from loradex.db.restored import OWNERS
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres, backup, programs
from loradex.errors import DatabaseRefusesError, InvalidArgumentError, StackError
from loradex.service.cli import run

Said = pytest.CaptureFixture[str]
Shell = pytest.MonkeyPatch


FACTS = '{"revision": "%s", "digest": "%s", "head": null, "logins": [%s], "owners": [%s]}'


def password_of(url: str) -> str:
    return str(conninfo_to_dict(url)["password"])


def test_psql_is_told_its_password_in_a_file_alone(
    database_url: str, monkeypatch: Shell, capfd: Said, tmp_path: Path
) -> None:
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    look = (
        r"\! tr '\0' ' ' < /proc/$PPID/cmdline; echo; tr '\0' ' ' < /proc/$PPID/environ; echo; "
        r"stat -c %a $PGSERVICEFILE"
    )
    assert run(["db", "psql", "-At", "-c", "select current_database()", "-c", look]) == 0
    said = capfd.readouterr().out
    assert database_url.rsplit("/", 1)[1] in said
    assert "service=loradex" in said
    assert "600" in said.split()
    assert password_of(database_url) not in said
    assert run(["db", "psql", "-v", "ON_ERROR_STOP=1", "-c", "select broken"]) == 1
    capfd.readouterr()


def test_a_program_that_is_nowhere_says_what_to_install(monkeypatch: Shell, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "WHEEL", "no_such_wheel")
    fake = tmp_path / "psql"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.program("psql") == fake
    with pytest.raises(StackError, match="postgresql-client-18"):
        programs.program("pg_dump")


@pytest.mark.parametrize("password", ["x" * 2000, "a%0Ahost=elsewhere", "blank%20"])
def test_a_password_that_a_service_file_cannot_hold_is_refused(password: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        programs.run("psql", f"postgresql://u:{password}@127.0.0.1:1/x", [])
    assert "elsewhere" not in str(refused.value)


def test_a_dump_is_restored_with_its_people(
    world: World,
    database_url: str,
    empty_database_url: str,
    role_url: RoleUrl,
    connection: Connection,
    monkeypatch: Shell,
    capsys: Said,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    world.answered({}, {})
    alice = role_url("loradex_client", member=True)
    with connect(alice) as hers:
        hers.execute('select loradex.enqueue_jobs(\'[{"prompt": "mine"}]\')')
    name = conninfo_to_dict(alice)["user"]
    # An owner of API keys of that name is neither she nor any login.
    _, key = made_key(database_url, str(name))
    with connect(alice) as server, server.transaction():
        server.execute("select loradex.authenticate(%s)", (key,))
        server.execute('select loradex.enqueue_jobs(\'[{"prompt": "by key"}]\')')
    # Somebody of that name asked before her, and is gone.
    connection.execute("insert into loradex.owners (name, role) values (%s, 4)", (name,))

    place = tmp_path / "monday"
    assert run(["db", "dump", str(place)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["monday"]
    facts = json.loads((place / "facts.json").read_text())
    assert {"name": name, "role": "loradex_client"} in facts["logins"]
    assert password_of(database_url) not in (place / "facts.json").read_text()
    assert run(["db", "dump", str(place)]) == 2
    assert run(["db", "restore", str(place)]) == 2
    assert "holds Loradex already" in capsys.readouterr().err

    monkeypatch.setenv("LORADEX_DATABASE_URL", empty_database_url)
    assert run(["db", "restore", str(place)]) == 0
    assert f"audit verify --head {facts['head']}" in capsys.readouterr().out
    assert run(["audit", "verify", "--head", facts["head"]]) == 0
    with connect(alice.rsplit("/", 1)[0] + "/" + empty_database_url.rsplit("/", 1)[1]) as hers:
        assert hers.execute("select prompt from loradex.jobs").fetchall() == [("mine",)]
        with hers.transaction():
            hers.execute("select loradex.authenticate(%s)", (key,))
            assert hers.execute("select prompt from loradex.jobs").fetchall() == [("by key",)]
        temporary = hers.execute("select has_database_privilege(current_database(), 'TEMP')").fetchone()
        assert temporary == (False,)
    with connect(empty_database_url) as restored:
        kept = restored.execute("select count(*), count(distinct role) from loradex.owners").fetchone()
        assert kept == connection.execute("select count(*), count(*) from loradex.owners").fetchone()
        assert [row[0] for row in restored.execute(OWNERS)] == facts["owners"]
        keyed = restored.execute("select name from loradex.owners where role = 0").fetchall()
        assert keyed == [(name,)]


def test_a_login_that_the_new_server_lacks_is_made_without_a_password(
    empty_database_url: str,
    database_url: str,
    postgres: EmbeddedPostgres,
    monkeypatch: Shell,
    capsys: Said,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    place = tmp_path / "dump"
    assert run(["db", "dump", str(place)]) == 0
    facts = json.loads((place / "facts.json").read_text())
    facts["logins"] = [{"name": "bob_elsewhere", "role": "loradex_reader"}]
    (place / "facts.json").write_text(json.dumps(facts))
    monkeypatch.setenv("LORADEX_DATABASE_URL", empty_database_url)
    try:
        assert run(["db", "restore", str(place)]) == 0
        assert "bob_elsewhere" in capsys.readouterr().out
        with connect(postgres.url) as admin:
            role = admin.execute(
                "select rolcanlogin, rolpassword from pg_authid where rolname = 'bob_elsewhere'"
            )
            assert role.fetchone() == (True, None)
    finally:
        with connect(postgres.url) as admin:
            admin.execute("drop role if exists bob_elsewhere")


def test_what_fails_leaves_nothing_behind(
    database_url: str,
    empty_database_url: str,
    role_url: RoleUrl,
    monkeypatch: Shell,
    capsys: Said,
    tmp_path: Path,
) -> None:
    state = schema_state(database_url)
    here = (state.revision, state.digest)
    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_reader"))
    assert run(["db", "dump", str(tmp_path / "partial")]) == 1
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("LORADEX_DATABASE_URL", empty_database_url)
    for name, facts, told in (
        ("none", None, "not a dump"),
        ("shape", "[]", "not a dump"),
        ("newer", FACTS % ("x", "", "", ""), "install a newer one"),
        ("amended", FACTS % (state.revision, "other", "", ""), "made by an earlier commit"),
        ("no group", FACTS % (*here, '{"name": "carol_elsewhere", "role": "kings"}', ""), "no role kings"),
        (
            "torn",
            FACTS % (*here, '{"name": "carol_elsewhere", "role": "loradex_reader"}', ""),
            "begin again",
        ),
    ):
        place = tmp_path / name
        place.mkdir()
        (place / "database.dump").write_bytes(b"PGDMP torn")
        if facts is not None:
            (place / "facts.json").write_text(facts)
        assert run(["db", "restore", str(place)]) != 0
        assert told in capsys.readouterr().err
        with connect(empty_database_url) as connection:
            carol = connection.execute("select from pg_roles where rolname = 'carol_elsewhere'").fetchone()
            assert carol is None, name
    with connect(empty_database_url) as connection:
        assert connection.execute("select from pg_namespace where nspname = 'loradex'").fetchone() is None


def test_what_fails_after_the_rows_says_what_is_there(
    world: World,
    database_url: str,
    empty_database_url: str,
    connection: Connection,
    monkeypatch: Shell,
    capsys: Said,
    tmp_path: Path,
) -> None:
    world.answered({})
    connection.execute("insert into loradex.owners (name, role) select name, 4 from loradex.owners")
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    assert run(["db", "dump", str(tmp_path / "dump")]) == 0
    written = tmp_path / "dump" / "facts.json"
    facts = json.loads(written.read_text())
    both = connection.execute("select array_agg(id) from loradex.owners").fetchone()
    assert both is not None
    # One login cannot be two owners.
    written.write_text(json.dumps({**facts, "owners": both[0]}))

    monkeypatch.setenv("LORADEX_DATABASE_URL", empty_database_url)
    assert run(["db", "restore", str(tmp_path / "dump")]) == 1
    said = capsys.readouterr().err
    assert "the rows were restored" in said
    assert "drop schema loradex cascade" in said
    assert run(["db", "psql", "-q", "-c", "drop schema loradex cascade"]) == 0

    written.write_text(json.dumps(facts))
    with monkeypatch.context() as patched:
        patched.setattr(backup, "upgrade", _locked)
        assert run(["db", "restore", str(tmp_path / "dump")]) == 1
    assert "run `loradex db upgrade`" in capsys.readouterr().err
    assert run(["db", "upgrade"]) == 0
    assert run(["audit", "verify", "--head", facts["head"]]) == 0


def _locked(_url: str) -> None:
    raise DatabaseRefusesError("a lock is held")


def test_a_dump_and_its_facts_are_of_one_moment(
    database_url: str,
    empty_database_url: str,
    connection: Connection,
    monkeypatch: Shell,
    tmp_path: Path,
) -> None:
    """An owner who comes between the facts and the start of `pg_dump` is in neither."""

    def later(name: str, url: str, arguments: Sequence[str | Path]) -> str:
        connection.execute(
            "insert into loradex.owners (name, role) select current_user, current_user::regrole"
        )
        return programs_run(name, url, arguments)

    programs_run = programs.run
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    with monkeypatch.context() as patched:
        patched.setattr(programs, "run", later)
        assert run(["db", "dump", str(tmp_path / "dump")]) == 0
    assert connection.execute("select count(*) from loradex.owners").fetchone() == (1,)
    assert json.loads((tmp_path / "dump" / "facts.json").read_text())["owners"] == []
    monkeypatch.setenv("LORADEX_DATABASE_URL", empty_database_url)
    assert run(["db", "restore", str(tmp_path / "dump")]) == 0
    with connect(empty_database_url) as restored:
        assert restored.execute("select count(*) from loradex.owners").fetchone() == (0,)


def test_they_need_no_embedded_stack(
    database_url: str, empty_database_url: str, monkeypatch: Shell, tmp_path: Path
) -> None:
    """Where the extra is not installed, a machine may still have programs of Postgres."""
    for url, words in (
        (database_url, ("db", "psql", "-c", "select 1")),
        (database_url, ("db", "dump", str(tmp_path / "dump"))),
        (empty_database_url, ("db", "restore", str(tmp_path / "dump"))),
    ):
        monkeypatch.setenv("LORADEX_DATABASE_URL", url)
        line = (
            f"import sys; sys.modules['psutil'] = None; from loradex.service.cli import main; main({words!r})"
        )
        done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
