"""The login that serves: one of the role client alone, so that without a key it sees nothing of anybody."""

import hashlib

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loradex.addresses import database_address
from loradex.db.address import libpq_url
from loradex.db.logins import group_named, set_logins
from loradex.settings import Settings

LOGIN = "loradex_api"


def serving_address(settings: Settings) -> str:
    """Address of Postgres for the login that serves: see `address_of`."""
    return address_of(settings, LOGIN, "client")


def address_of(settings: Settings, login: str, role: str) -> str:
    """Address of Postgres for a server's own login, of one role.

    `LORADEX_DATABASE_URL` names it. On the embedded stack, whose address is its owner's, the login is made here, with a
    password that follows from the owner's: every server of this stack has the same one, and none is kept.

    Raises:
        StackError: Nothing says where Postgres is.
        DatabaseUnavailableError: The embedded one does not answer.
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    owner = database_address(settings)
    secret = str(conninfo_to_dict(libpq_url(owner)).get("password", ""))
    password = hashlib.sha256(f"{login}\0{secret}".encode()).hexdigest()
    set_logins(owner, {login: (group_named(role), password)})
    return make_conninfo(libpq_url(owner), user=login, password=password)
