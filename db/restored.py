"""What belongs to a server and not to its database, and so is in no dump: groups, logins, who is who."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from loradex.db.logins import GROUPS, group_named, make_login
from loradex.db.session import translate_errors
from loradex.db.sqlfiles import live_files
from loradex.errors import InvalidArgumentError

Connection = psycopg.Connection[tuple[object, ...]]

LOGINS = """
    select distinct m.rolname::text as name, g.rolname::text as role
    from pg_auth_members a
    join pg_roles g on g.oid = a.roleid
    join pg_roles m on m.oid = a.member
    where g.rolname = any (%s) and m.rolcanlogin and (a.inherit_option or a.set_option)
    order by 1, 2"""
"""Whoever made a group may administer it, and is no login of it."""
OWNERS = """
    select o.id from loradex.owners o join pg_roles r on r.oid = o.role and r.rolname = o.name order by 1"""
# A login is known by its number in its server. An owner whose login was gone before the dump stays nobody, even if
# somebody has its name now: its number becomes one that no role has. Owners of API keys are no logins.
SAME_PEOPLE = """
    update loradex.owners o
    set role = coalesce(
        (select r.oid from pg_roles r where r.rolname = o.name and o.id = any (%s)), (4294967295 - o.id)::oid)
    where o.role <> 0"""


@dataclass(frozen=True)
class Login:
    """A login, and the group it is a member of."""

    name: str
    role: str


def logins(connection: Connection) -> list[Login]:
    """The members of Loradex' groups."""
    with connection.cursor(row_factory=class_row(Login)) as cursor:
        return cursor.execute(LOGINS, ([group.name for group in GROUPS],)).fetchall()


def owners(connection: Connection) -> list[int]:
    """The ids of the owners whose logins are there."""
    return [int(str(row[0])) for row in connection.execute(OWNERS).fetchall()]


def prepare(connection: Connection, wanted: Sequence[Login]) -> list[str]:
    """Make the groups that a dump grants rights to, and the logins that are missing, all or none.

    Args:
        connection: To the database that shall be filled.
        wanted: The logins of the server that was dumped.

    Returns:
        The logins that were made; they cannot log in before they get a password.

    Raises:
        InvalidArgumentError: The database holds Loradex.
        PermissionRefusedError: A group or a login is missing, and this user may not make it.
    """
    with translate_errors(), connection.transaction():
        found = connection.execute("select from pg_namespace where nspname = 'loradex'").fetchone()
        if found is not None:
            raise InvalidArgumentError(
                "this database holds Loradex already: set LORADEX_DATABASE_URL to an empty one (`create database …`)"
            )
        _run(connection, "roles.sql")
        there = {str(name) for (name,) in connection.execute("select rolname::text from pg_roles").fetchall()}
        made = [login for login in wanted if login.name not in there]
        for login in made:
            make_login(connection, login.name, group_named(login.role), None)
    return [login.name for login in made]


def take_back(connection: Connection, made: Sequence[str]) -> None:
    """Drop the logins that `prepare` made, where nothing was restored."""
    with translate_errors(), connection.transaction():
        for name in made:
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def adopt(connection: Connection, people: Sequence[int]) -> None:
    """Give owners their logins back, and close what PUBLIC may not do.

    Args:
        connection: To the restored database.
        people: The owners whose logins were there.
    """
    with translate_errors(), connection.transaction():
        connection.execute(SAME_PEOPLE, (list(people),))
        _run(connection, "public.sql")


def _run(connection: Connection, path: str) -> None:
    for file in live_files():
        if file.path == path:
            connection.execute(file.text.encode())
