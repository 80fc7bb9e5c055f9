"""A real Postgres, one for the whole run; each test gets a database of its own, a clone of a migrated one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from tests.world import World

from loradex.db import migrate
from loradex.db.logins import GROUPS, group_named, set_logins
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres

ROLES = tuple(group.name for group in GROUPS)
PASSWORD = "for-tests-only"
TEMPLATE = "loradex_template"
STOCKED = "loradex_stocked"

Connection = psycopg.Connection[tuple[Any, ...]]
RoleUrl = Callable[..., str]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    # Without autovacuum, or plans would depend on how far it has come; a test that needs statistics asks for them.
    server = EmbeddedPostgres(
        tmp_path_factory.mktemp("postgres"), durable=False, settings={"autovacuum": "off"}
    )
    server.start()
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """Name of a database at head; each of the four roles has a login afterwards."""
    url = with_database(postgres.url, TEMPLATE)
    with connect(postgres.url) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
        migrate.upgrade(url)
        set_logins(postgres.url, {group.login: (group, PASSWORD) for group in GROUPS})
    return TEMPLATE


@pytest.fixture(scope="session")
def stocked(postgres: EmbeddedPostgres, template: str) -> str:
    """Name of a database at head that holds `World`'s small library."""
    with connect(postgres.url) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(
                sql.Identifier(STOCKED), sql.Identifier(template)
            )
        )
    with connect(with_database(postgres.url, STOCKED)) as connection:
        World.stocked(connection)
    return STOCKED


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """URL of a new, empty database, as its owner."""
    with new_database(postgres, "template0") as url:
        yield url


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a new database at head, as its owner; empty, unless the test also asks for `world`."""
    wanted = "stocked" if "world" in request.fixturenames else "template"
    with new_database(postgres, request.getfixturevalue(wanted)) as url:
        yield url


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection of the owner, in autocommit mode."""
    with connect(database_url) as opened:
        yield opened


@pytest.fixture
def role_url(database_url: str, template: str, postgres: EmbeddedPostgres) -> Iterator[RoleUrl]:
    """Gives the URL of the test's database for a role; with `member`, for a new login of that role."""
    made: list[str] = []

    def give(role: str, *, member: bool = False) -> str:
        user = role
        if member:
            user = f"member_{uuid4().hex[:12]}"
            if role in ROLES:
                set_logins(postgres.url, {user: (group_named(role), PASSWORD)})
            else:
                with connect(postgres.url) as admin:
                    admin.execute(
                        sql.SQL("create role {} login password {} in role {}").format(
                            sql.Identifier(user), sql.Literal(PASSWORD), sql.Identifier(role)
                        )
                    )
            made.append(user)
        return with_user(database_url, user)

    yield give
    with connect(postgres.url) as admin:
        for user in made:
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(user)))


@pytest.fixture
def world(connection: Connection) -> World:
    """The test's database with a small library in it: tasks, adapters, examples around a centre a task."""
    return World.found(connection)


@pytest.fixture(scope="session")
def shared_stocked(postgres: EmbeddedPostgres, stocked: str) -> Iterator[Connection]:
    """A connection to one stocked database that tests share; use it through `scratch`."""
    name = f"{STOCKED}_shared"
    with connect(postgres.url) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(stocked))
        )
    with connect(with_database(postgres.url, name)) as opened:
        yield opened


@pytest.fixture
def scratch(shared_stocked: Connection) -> Iterator[World]:
    """A `world` without commits: what the test does is rolled back. Cheaper than a database of its own."""
    with shared_stocked.transaction(force_rollback=True):
        yield World.found(shared_stocked)


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def with_user(url: str, user: str) -> str:
    """The URL for a login, or for the login of a role."""
    parts = urlsplit(url)
    user = group_named(user).login if user in ROLES else user
    return urlunsplit(parts._replace(netloc=f"{user}:{PASSWORD}@{parts.hostname}:{parts.port}"))


@contextmanager
def new_database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """URL of a new database that is a copy of another one; dropped afterwards."""
    name = f"test_{uuid4().hex[:16]}"
    postgres.start()  # a test that stopped it gets it back
    with connect(postgres.url) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    yield with_database(postgres.url, name)
    postgres.start()
    with connect(postgres.url) as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
