"""Logins: members of the groups of `db/sql/roles.sql`, with a password and limits of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from loradex.db.session import connect, translate_errors
from loradex.errors import InvalidArgumentError, UnknownNameError

METHOD = b"scram-sha-256"
ATTRIBUTES = ("superuser", "createdb", "createrole")
"""What no login has."""
ROLE = """
    select array(select distinct g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid
                 where m.member = r.oid) as groups,
           exists (select from pg_auth_members m
                   where m.member = r.oid and (m.inherit_option or m.set_option)) as has_rights,
           r.rolsuper as superuser, r.rolcreatedb as createdb, r.rolcreaterole as createrole
    from pg_roles r where r.rolname = %s"""
"""Whoever makes a role may administer it and has none of its rights, which Postgres keeps as a membership too."""


@dataclass(frozen=True)
class Group:
    """A group of roles, and what each of its logins gets.

    Attributes:
        name: The NOLOGIN role that holds the rights.
        connections: Connections one login may have at once.
        statement: Longest statement.
        idle: Longest pause inside a transaction.
    """

    name: str
    connections: int
    statement: str
    idle: str

    @property
    def login(self) -> str:
        """The login that `loradex db roles` makes."""
        return f"{self.name}_login"

    @property
    def settings(self) -> Mapping[str, str]:
        """What a session of the login starts with."""
        return {
            "statement_timeout": self.statement,
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": self.idle,
        }


GROUPS = (
    Group("loradex_admin", connections=10, statement="1h", idle="10min"),
    Group("loradex_worker", connections=40, statement="5min", idle="1min"),
    Group("loradex_client", connections=60, statement="1min", idle="1min"),
    Group("loradex_reader", connections=20, statement="5min", idle="1min"),
)
TEMPORARY_FILES = "2GB"
"""Of a statement; only a superuser may set it."""


def group_named(name: str) -> Group:
    """The group of that name, with or without `loradex_` in front.

    Raises:
        UnknownNameError: There is none.
    """
    for group in GROUPS:
        if name in {group.name, group.name.removeprefix("loradex_")}:
            return group
    raise UnknownNameError(
        f"no role {name}; there are {', '.join(group.name.removeprefix('loradex_') for group in GROUPS)}"
    )


def set_logins(url: str, logins: Mapping[str, tuple[Group, str]]) -> None:
    """Make logins (name → group, password) or change them, all or none; open sessions stay open.

    A login inherits its group's rights and cannot become the group, so it cannot touch what others share. The
    server is told a SCRAM verifier made here, so no password reaches its log or `pg_stat_activity`.

    Raises:
        InvalidArgumentError: A name is a group's, or a login of another group.
        PermissionRefusedError: The user at `url` may not create roles.
    """
    with translate_errors(), connect(url) as connection, connection.transaction():
        for name, (group, password) in logins.items():
            make_login(connection, name, group, password)


def make_login(
    connection: psycopg.Connection[tuple[object, ...]], name: str, group: Group, password: str | None
) -> None:
    """Make a login or change it, in the transaction of the caller; without a password it keeps what it has."""
    if name in {one.name for one in GROUPS}:
        raise InvalidArgumentError(f"{name} is a group, and nobody logs in as a group; give another name")
    login, role = sql.Identifier(name), sql.Identifier(group.name)
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(ROLE, (name,)).fetchone()
    if found is None:
        connection.execute(sql.SQL("create role {}").format(login))
    elif found["groups"] != [group.name] or not found["has_rights"]:
        raise InvalidArgumentError(
            f"the role {name} is there and is not a login of {group.name}; give another name"
        )
    # Whoever lacks an attribute may not even take it away, so only what is there is taken.
    taken = [sql.SQL(f"no{one}") for one in ATTRIBUTES if found is not None and found[one]]
    connection.execute(
        sql.SQL("alter role {} login {} connection limit {}").format(
            login, sql.SQL(" ").join(taken), sql.Literal(group.connections)
        )
    )
    if password is not None:
        verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), METHOD).decode()
        connection.execute(sql.SQL("alter role {} password {}").format(login, sql.Literal(verifier)))
    connection.execute(
        sql.SQL("grant {} to {} with inherit true, set false, admin false").format(role, login)
    )
    for setting, value in group.settings.items():
        connection.execute(
            sql.SQL("alter role {} set {} = {}").format(login, sql.Identifier(setting), sql.Literal(value))
        )
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("alter role {} set temp_file_limit = {}").format(login, sql.Literal(TEMPORARY_FILES))
            )
    except psycopg.errors.InsufficientPrivilege:
        return  # an owner who is not a superuser sets the rest
