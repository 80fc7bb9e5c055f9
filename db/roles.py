"""Passwords for the roles of `db/sql/roles.sql`, which have none until an operator gives them one."""

from collections.abc import Mapping

from psycopg import sql

from loradex.db.session import connect, translated
from loradex.errors import UnknownNameError

ROLES = ("loradex_admin", "loradex_worker", "loradex_client", "loradex_reader")
METHOD = b"scram-sha-256"


def set_passwords(url: str, passwords: Mapping[str, str]) -> None:
    """Give roles a password, all of them or none; sessions that are open stay open.

    The server is told a SCRAM verifier made here, so no password reaches its log or `pg_stat_activity`.

    Raises:
        UnknownNameError: One is none of `ROLES`.
        PermissionRefusedError: The user at `url` may not alter roles.
    """
    strange = sorted(set(passwords) - set(ROLES))
    if strange:
        raise UnknownNameError(f"no role {strange[0]}; there are {', '.join(ROLES)}")
    with translated(), connect(url) as connection, connection.transaction():
        for role, password in passwords.items():
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), METHOD)
            connection.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(role), sql.Literal(verifier.decode())
                )
            )
