"""Connections to Postgres, and the one place where its errors become Loradex's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from loradex.db import outages
from loradex.errors import (
    BY_SQLSTATE,
    DatabaseRefusesError,
    DatabaseUnavailableError,
    DimensionError,
    InvalidArgumentError,
    LoradexError,
    PermissionRefusedError,
    SchemaOutdatedError,
)
from loradex.urls import require_unambiguous_url

if TYPE_CHECKING:
    from sqlalchemy import Engine

CONNECT_SECONDS = 5
NETWORK: dict[str, Any] = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that is gone without a goodbye, with its host or its network, is noticed within half a minute; left alone,
TCP waits for two hours."""
RELIED_ON = """
    set default_transaction_isolation = 'read committed'; set default_transaction_read_only = off;
    set default_transaction_deferrable = off; set synchronous_commit = on; set row_security = on;
    set client_encoding = 'UTF8'; set standard_conforming_strings = on; set array_nulls = on;
    set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set extra_float_digits = 1; set bytea_output = 'hex';
    set search_path = public; set transform_null_equals = off; set plan_cache_mode = auto;
    set client_min_messages = warning"""
"""What every session sets for itself, whatever the server, the database or the login has for a default."""
APPLICATION = "loradex"

_MISSING = {"3F000", "42P01", "42883", "42703", "42704"}
"""No such schema, table, function, column or type: the database is not migrated, or not to this version."""
_MALFORMED = {"22P02", "2201W", "22P05", "22021", "22003", "22023", "22007", "22008"}
"""A value Postgres cannot read as the argument's type: text for a number, a NUL, a number out of range."""
_TOO_MUCH = "54"
"""The class of SQLSTATEs for values that exceed a limit of Postgres."""
_VECTOR = {"22000", "22P02", "22003", "54000"}
"""What pgvector raises before a function of ours sees the vector: NaN, infinity, an unlike length."""


def connect(url: str, *, application: str = APPLICATION) -> psycopg.Connection[tuple[object, ...]]:
    """An open connection in autocommit mode; begin a transaction with `connection.transaction()`.

    Raises:
        InvalidArgumentError: The URL cannot be read; it is not repeated, since it may hold a password.
        DatabaseUnavailableError: Nothing answers at the address, or it refuses this user.
    """
    with translate_errors():
        try:
            connection = psycopg.connect(
                libpq_url(url),
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                application_name=application,
                **NETWORK,
            )
        except psycopg.ProgrammingError:
            raise InvalidArgumentError(
                "the database URL cannot be read; write LORADEX_DATABASE_URL as postgresql://user:password@host:port/name"
            ) from None
        try:
            connection.execute(RELIED_ON)
        except BaseException:
            connection.close()
            raise
        return connection


def engine(url: str, *, application: str = APPLICATION) -> "Engine":
    """An SQLAlchemy engine without a pool: each `with engine.connect()` is a session of its own."""
    from sqlalchemy import NullPool, create_engine  # noqa: PLC0415 - the client never needs it, and it is slow

    return create_engine(
        sqlalchemy_url(url),
        poolclass=NullPool,
        connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": application, **NETWORK},
    )


def libpq_url(url: str) -> str:
    """The URL as libpq reads it: without SQLAlchemy's driver name. Raises as `db.urls.checked` does."""
    return require_unambiguous_url(url, "LORADEX_DATABASE_URL").replace(
        "postgresql+psycopg://", "postgresql://", 1
    )


def sqlalchemy_url(url: str) -> str:
    """The URL as SQLAlchemy reads it, for psycopg 3."""
    return (
        libpq_url(url)
        .replace("postgresql://", "postgresql+psycopg://", 1)
        .replace("postgres://", "postgresql+psycopg://", 1)
    )


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the typed error for what Postgres reports within, whether psycopg or SQLAlchemy brings it."""
    try:
        yield
    except Exception as error:
        source = getattr(error, "orig", None) or error
        if not isinstance(source, psycopg.Error):
            raise
        typed = typed_error(source)
        if typed is None:
            raise
        raise typed from error


def typed_error(error: psycopg.Error) -> LoradexError | None:
    """The Loradex error an error of Postgres stands for; None for what no user can cause or cure."""
    state = error.sqlstate or ""
    text = " ".join((error.diag.message_primary or str(error)).split())
    if state in BY_SQLSTATE:
        return BY_SQLSTATE[state](text)
    kind, advice = _kind(error, state, text)
    return None if kind is None else kind(text + advice)


def _kind(error: psycopg.Error, state: str, text: str) -> tuple[type[LoradexError] | None, str]:
    if state in _VECTOR and ("vector" in text or "dimensions" in text):
        return DimensionError, "; give as many finite numbers as the encoder has dimensions"
    if state == "42501":
        return PermissionRefusedError, f"; {outages.advice_on(state, text)}"
    if state in _MISSING:
        return SchemaOutdatedError, ": run `loradex db upgrade`"
    too_much = state[:2] == _TOO_MUCH
    if too_much or state in _MALFORMED or (not state and isinstance(error, psycopg.DataError)):
        return InvalidArgumentError, "; give less" if too_much else ""
    if outages.is_outage(error):
        kind = DatabaseRefusesError if state in outages.REFUSES else DatabaseUnavailableError
        return kind, f"; {outages.advice_on(state, text)}"
    return None, ""
