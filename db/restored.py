"""What belongs to a server and not to its database, and so is in no dump: groups, logins, who is who."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from loradex.db.logins import GROUPS, group_named, make_login
from loradex.db.session import translate_errors
from loradex.db.sqlfiles import live_files
from loradex.errors import InvalidArgumentError

Connection = psycopg.Connection[tuple[object, ...]]

LOGINS = """
    select m.rolname::text as name, g.rolname::text as role
    from pg_auth_members a
    join pg_roles g on g.oid = a.roleid
    join pg_roles m on m.oid = a.member
    where g.rolname = any (%s) and m.rolcanlogin
    order by 1"""
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


def require_empty(connection: Connection) -> None:
    """Make the groups that a dump grants rights to; `InvalidArgumentError` where the database holds Loradex.

    Raises:
        PermissionRefusedError: A group is missing, and this user may not make it.
    """
    with translate_errors():
        found = connection.execute("select from pg_namespace where nspname = 'loradex'").fetchone()
        if found is not None:
            raise InvalidArgumentError(
                "this database holds Loradex already: set LORADEX_DATABASE_URL to an empty one (`create database …`)"
            )
        _run(connection, "roles.sql")


def adopt(connection: Connection, wanted: Sequence[Login], people: Sequence[int]) -> list[str]:
    """Make the logins that are missing, give owners their logins back, and close what PUBLIC may not do.

    Args:
        connection: To the restored database.
        wanted: The logins of the server that was dumped.
        people: The owners whose logins were there.

    Returns:
        The logins that were made; they cannot log in before they get a password.
    """
    with translate_errors(), connection.transaction():
        there = {str(name) for (name,) in connection.execute("select rolname::text from pg_roles").fetchall()}
        made = [login for login in wanted if login.name not in there]
        for login in made:
            make_login(connection, login.name, group_named(login.role), None)
        connection.execute(SAME_PEOPLE, (list(people),))
        _run(connection, "public.sql")
    return [login.name for login in made]


def _run(connection: Connection, path: str) -> None:
    for file in live_files():
        if file.path == path:
            connection.execute(file.text.encode())
