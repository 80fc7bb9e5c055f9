"""How a connection is asked for: the URL as the libraries read it, and what is said beside it."""

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from loradex.errors import InvalidArgumentError
from loradex.urls import require_unambiguous_url

CONNECT_SECONDS = 5
NETWORK = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that is gone without a goodbye, with its host or its network, is noticed within half a minute; left alone,
TCP waits for two hours."""


def connection_options(url: str, application: str) -> dict[str, Any]:
    """What psycopg is told to connect. A name of the application in the URL wins.

    Raises:
        InvalidArgumentError: The URL cannot be read; it is not repeated, since it may hold a password.
    """
    try:
        told = conninfo_to_dict(libpq_url(url))
    except psycopg.ProgrammingError:
        raise InvalidArgumentError(
            "the database URL cannot be read; write LORADEX_DATABASE_URL as postgresql://user:password@host:port/name"
        ) from None
    return {
        "connect_timeout": CONNECT_SECONDS,
        "fallback_application_name": application,
        "client_encoding": "UTF8",
        **NETWORK,
        **told,
        "autocommit": True,
    }


def libpq_url(url: str) -> str:
    """The URL as libpq reads it: without SQLAlchemy's driver name. Raises as `require_unambiguous_url` does."""
    return require_unambiguous_url(url, "LORADEX_DATABASE_URL").replace(
        "postgresql+psycopg://", "postgresql://", 1
    )
