"""`loradex db roles`: passwords come from the environment, and are nowhere to be read afterwards."""

from collections.abc import Iterator

import pytest
from loradex.db.roles import ROLES, set_passwords
from tests.fix_db import Connection, with_user

from loradex.db import migrate
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.errors import DatabaseUnavailableError, UnknownNameError
from loradex.service import cli

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
    """The owner's connection; no role has a password."""
    monkeypatch.setenv("LORADEX_DATABASE_URL", server.url)
    with connect(server.url) as connection:
        for role in ROLES:
            connection.execute(f"alter role {role} password null")
        yield connection


def user_of(url: str, role: str, password: str) -> str:
    with connect(with_user(url, role).replace("for-tests-only", password)) as connection:
        row = connection.execute("select session_user").fetchone()
    return str(row[0]) if row is not None else ""


def test_a_role_logs_in_with_the_password_it_was_given(
    server: EmbeddedPostgres, owner: Connection, monkeypatch: Shell, capsys: Said
) -> None:
    monkeypatch.setenv("LORADEX_WORKER_PASSWORD", SECRET)
    monkeypatch.setenv("LORADEX_CLIENT_PASSWORD", SECRET + "b")
    monkeypatch.setenv("LORADEX_READER_PASSWORD", "")

    assert cli.run(["db", "roles"]) == 0

    said = capsys.readouterr()
    assert said.out == (
        "password set: loradex_worker, loradex_client; as before: loradex_admin, loradex_reader\n"
    )
    assert user_of(server.url, "loradex_worker", SECRET) == "loradex_worker"
    assert user_of(server.url, "loradex_client", SECRET + "b") == "loradex_client"
    for role, wrong in (("loradex_client", SECRET), ("loradex_reader", ""), ("loradex_admin", SECRET)):
        with pytest.raises(DatabaseUnavailableError) as refused:
            user_of(server.url, role, wrong)
        assert SECRET not in str(refused.value)


def test_the_password_is_neither_sent_nor_logged_nor_stored(
    server: EmbeddedPostgres, owner: Connection, monkeypatch: Shell, capsys: Said
) -> None:
    monkeypatch.setenv("LORADEX_WORKER_PASSWORD", SECRET)
    assert cli.run(["db", "roles"]) == 0

    said = capsys.readouterr()
    stored = owner.execute("select rolpassword from pg_authid where rolname = 'loradex_worker'").fetchone()
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
    set_passwords(server.url, {"loradex_admin": "for-tests-only"})
    monkeypatch.setenv("LORADEX_DATABASE_URL", with_user(server.url, "loradex_admin"))
    monkeypatch.setenv("LORADEX_WORKER_PASSWORD", SECRET)

    assert cli.run(["db", "roles"]) == 1

    said = capsys.readouterr().err
    assert "connect as a role that may do this" in said
    assert SECRET not in said


def test_only_loradex_s_own_roles_are_touched(server: EmbeddedPostgres, owner: Connection) -> None:
    with pytest.raises(UnknownNameError, match="postgres"):
        set_passwords(server.url, {"loradex_worker": SECRET, "postgres": SECRET})
    found = owner.execute("select rolpassword from pg_authid where rolname = 'loradex_worker'").fetchone()
    assert found == (None,)
