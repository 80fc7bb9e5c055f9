"""`loradex db roles` and `db login`: passwords come from the environment, and are nowhere to be read afterwards."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fix_db import Connection, with_database, with_user
from tests.repository import ROOT

from loradex.db import migrate
from loradex.db.logins import GROUPS, group_named, set_logins
from loradex.db.restored import Login, logins
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.errors import DatabaseUnavailableError, InvalidArgumentError, UnknownNameError
from loradex.service import cli
from loradex.service.doctor import people

SECRET = "hidden-4711"
Shell = pytest.MonkeyPatch
Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this file's own, since roles belong to a whole server; it logs every statement."""
    made = EmbeddedPostgres(tmp_path_factory.mktemp("roles"), durable=False)
    url = made.start()
    migrate.upgrade(url)
    with connect(url) as connection:
        connection.execute("alter system set log_statement = 'all'")
        connection.execute("select pg_reload_conf()")
    yield made
    made.destroy()


@pytest.fixture
def owner(server: EmbeddedPostgres, monkeypatch: Shell) -> Iterator[Connection]:
    """The owner's connection; there is no login of Loradex."""
    monkeypatch.setenv("LORADEX_DATABASE_URL", server.url)
    with connect(server.url) as connection:
        for login in (*(group.login for group in GROUPS), "alice"):
            connection.execute(f"drop role if exists {login}".encode())
        yield connection


def user_of(url: str, login: str, password: str) -> str:
    with connect(with_user(url, login).replace("for-tests-only", password)) as connection:
        row = connection.execute("select session_user").fetchone()
    return str(row[0]) if row is not None else ""


def test_a_role_s_login_has_the_password_it_was_given(
    server: EmbeddedPostgres, owner: Connection, monkeypatch: Shell, capsys: Said
) -> None:
    monkeypatch.setenv("LORADEX_WORKER_PASSWORD", SECRET)
    monkeypatch.setenv("LORADEX_CLIENT_PASSWORD", SECRET + "b")
    monkeypatch.setenv("LORADEX_READER_PASSWORD", "")

    assert cli.run(["db", "roles"]) == 0

    said = capsys.readouterr()
    assert said.out == (
        "login set: loradex_worker_login, loradex_client_login; "
        "as before: loradex_admin_login, loradex_reader_login\n"
    )
    assert user_of(server.url, "loradex_worker_login", SECRET) == "loradex_worker_login"
    assert user_of(server.url, "loradex_client_login", SECRET + "b") == "loradex_client_login"
    for login, wrong in (
        ("loradex_client_login", SECRET),
        ("loradex_reader_login", ""),
        ("loradex_admin_login", SECRET),
    ):
        with pytest.raises(DatabaseUnavailableError) as refused:
            user_of(server.url, login, wrong)
        assert SECRET not in str(refused.value)


def test_a_login_of_one_s_own_gets_another_password(
    server: EmbeddedPostgres, owner: Connection, monkeypatch: Shell, capsys: Said
) -> None:
    for password in (SECRET, SECRET + "b"):
        monkeypatch.setenv("LORADEX_LOGIN_PASSWORD", password)
        assert cli.run(["db", "login", "alice", "--role", "client"]) == 0
        assert capsys.readouterr().out == "alice may log in as client\n"
        assert user_of(server.url, "alice", password) == "alice"
    with pytest.raises(DatabaseUnavailableError):
        user_of(server.url, "alice", SECRET)
    assert cli.run(["db", "login", "alice", "--role", "reader"]) == 2
    assert "not a login of loradex_reader" in capsys.readouterr().err


def test_the_password_is_neither_sent_nor_logged_nor_stored(
    server: EmbeddedPostgres, owner: Connection, monkeypatch: Shell, capsys: Said
) -> None:
    monkeypatch.setenv("LORADEX_WORKER_PASSWORD", SECRET)
    assert cli.run(["db", "roles"]) == 0

    said = capsys.readouterr()
    stored = owner.execute(
        "select rolpassword from pg_authid where rolname = 'loradex_worker_login'"
    ).fetchone()
    log = server.log.read_text()
    assert "alter role" in log
    assert SECRET not in log + said.out + said.err + str(stored)
    assert stored is not None
    assert str(stored[0]).startswith("SCRAM-SHA-256$")


def test_without_a_password_it_says_which_variables_there_are(owner: Connection, capsys: Said) -> None:
    assert cli.run(["db", "roles"]) == 2
    assert "set LORADEX_ADMIN_PASSWORD" in capsys.readouterr().err


def test_a_role_may_not_do_it(
    server: EmbeddedPostgres, owner: Connection, monkeypatch: Shell, capsys: Said
) -> None:
    admin = group_named("admin")
    set_logins(server.url, {admin.login: (admin, "for-tests-only")})
    monkeypatch.setenv("LORADEX_DATABASE_URL", with_user(server.url, admin.login))
    monkeypatch.setenv("LORADEX_WORKER_PASSWORD", SECRET)

    assert cli.run(["db", "roles"]) == 1

    said = capsys.readouterr().err
    assert "connect as a role that may do this" in said
    assert SECRET not in said


@pytest.mark.parametrize("name", ["loradex", "loradex_client", "pg_monitor"])
def test_only_logins_of_the_role_are_touched(server: EmbeddedPostgres, owner: Connection, name: str) -> None:
    """The owner of the database, a group, a role of Postgres's own: all or nothing."""
    worker, client = group_named("worker"), group_named("client")
    before = owner.execute("select rolpassword from pg_authid where rolname = %s", (name,)).fetchone()
    with pytest.raises(InvalidArgumentError, match=name):
        set_logins(server.url, {worker.login: (worker, SECRET), name: (client, SECRET)})
    after = owner.execute("select rolpassword from pg_authid where rolname = %s", (name,)).fetchone()
    assert after == before
    assert owner.execute("select from pg_roles where rolname = %s", (worker.login,)).fetchone() is None


def test_an_owner_who_may_create_roles_and_no_more_makes_logins_and_is_none(
    tmp_path: Path, monkeypatch: Shell, capsys: Said
) -> None:
    """Postgres lets whoever made a group administer it, which looks like a membership."""
    made = EmbeddedPostgres(tmp_path, durable=False)
    try:
        with connect(made.start()) as admin:
            admin.execute("create role plain login createrole password 'for-tests-only'")
        for name in ("theirs", "second"):
            with connect(made.url) as admin:
                admin.execute(f"create database {name} owner plain".encode())
            with connect(with_database(made.url, name)) as admin:
                admin.execute("create extension vector")
        url = with_database(with_user(made.url, "plain"), "theirs")
        migrate.upgrade(url)
        monkeypatch.setenv("LORADEX_DATABASE_URL", url)
        monkeypatch.setenv("LORADEX_LOGIN_PASSWORD", SECRET)
        for _ in range(2):
            assert cli.run(["db", "login", "alice", "--role", "client"]) == 0, capsys.readouterr().err
        with connect(made.url) as admin:  # two who grant are two rows
            admin.execute("grant loradex_client to alice with inherit true, set false, admin false")
        assert cli.run(["db", "login", "alice", "--role", "client"]) == 0, capsys.readouterr().err
        assert cli.run(["db", "login", "plain", "--role", "client"]) == 2
        assert user_of(with_database(made.url, "theirs"), "alice", SECRET) == "alice"
        with connect(url) as plain:
            assert logins(plain) == [Login("alice", "loradex_client")]
            assert [(one.state, one.note) for one in people.logins(plain)] == [
                ("well", "1, each with limits")
            ]
        assert cli.run(["db", "dump", str(tmp_path / "dump")]) == 0
        monkeypatch.setenv("LORADEX_DATABASE_URL", with_database(url, "second"))
        assert cli.run(["db", "restore", str(tmp_path / "dump")]) == 1
        assert 'permission denied to set parameter "hnsw.' in capsys.readouterr().err
        with connect(made.url) as admin:
            page = (ROOT / "docs" / "operations.md").read_text()
            (grant,) = re.findall(r"`(grant set on parameter [^`]* to )NAME`", page)
            admin.execute(f"{grant} plain".encode())
        assert cli.run(["db", "restore", str(tmp_path / "dump")]) == 0, capsys.readouterr().err
        monkeypatch.setenv("LORADEX_DATABASE_URL", url)
        with connect(made.url) as admin:
            admin.execute("create role bob login")
            admin.execute("grant loradex_admin to bob with inherit false, set false, admin true")
            said = {one.check: one.note for one in people.logins(admin)}
            assert "give it away" in said["login bob"]
            admin.execute("alter role alice createdb")
        assert cli.run(["db", "login", "alice", "--role", "client"]) == 1, "it may not take what it has not"
        monkeypatch.setenv("LORADEX_DATABASE_URL", made.url)
        assert cli.run(["db", "login", "alice", "--role", "client"]) == 0
        with connect(made.url) as admin:
            row = admin.execute("select rolcreatedb from pg_roles where rolname = 'alice'").fetchone()
        assert row == (False,)
    finally:
        made.destroy()


def test_a_role_nobody_knows_is_named(owner: Connection, capsys: Said) -> None:
    with pytest.raises(UnknownNameError, match="admin, worker, client, reader"):
        group_named("operator")
    assert cli.run(["db", "login", "alice", "--role", "operator"]) == 2
    assert "no role operator" in capsys.readouterr().err
