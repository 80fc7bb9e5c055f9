"""Connections to Postgres; within `translate_errors` its errors become Loradex's."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from loradex.db.address import connection_options
from loradex.db.postgres_errors import typed_error
from loradex.db.session_settings import LIFT, LIFTS, SETTLE, settling
from loradex.program import program_name

if TYPE_CHECKING:
    from sqlalchemy import Engine

USES_BEFORE_PREPARED = 5


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection that relies on no default.

    Attributes:
        pooled: A pooler hands each transaction to another session of the server, so nothing is prepared, nothing
            is heard, and what `settled` sets holds for a transaction.
    """

    pooled = False


def connect(url: str, *, application: str | None = None, prepare_threshold: int | None = None) -> Session:
    """An open connection in autocommit mode; begin a transaction with `connection.transaction()`.

    Args:
        url: Where Postgres is.
        application: What Postgres is told of this program; the name of the command where it is left out.
        prepare_threshold: Uses after which a statement is prepared, 0 for never; None leaves it to us.

    Raises:
        InvalidArgumentError: The URL cannot be read.
        DatabaseUnavailableError: Nothing answers at the address, or it refuses this user.
    """
    with translate_errors():
        connection = opened(url, application)
        try:
            set_up(connection, prepare_threshold)
        except BaseException:
            connection.close()
            raise
        return connection


def opened(url: str, application: str | None) -> Session:
    """A connection as it comes; it waits for the server for no longer than the time to connect."""
    return Session.connect(**connection_options(url, application or program_name()))


def set_up(connection: Session, prepare_threshold: int | None) -> None:
    """Make what `connect` gives of an open connection."""
    connection.pooled = _settle(connection) != connection.info.backend_pid
    connection.prepare_threshold = uses_before_prepared(prepare_threshold, pooled=connection.pooled)
    if connection.pooled:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = connection.deferrable = False


def uses_before_prepared(threshold: int | None, *, pooled: bool) -> int | None:
    """Psycopg's `prepare_threshold` for ours: None decides by whether a pooler is between, 0 is never."""
    if threshold is None:
        return None if pooled else USES_BEFORE_PREPARED
    return threshold or None


@contextmanager
def settled(connection: Session) -> Iterator[None]:
    """What a call relies on: behind a pooler it is set anew, for one transaction around the call."""
    with ExitStack() as transaction:
        if connection.pooled:
            _settle(connection, transaction)
        yield


def _settle(connection: psycopg.Connection[Any], transaction: ExitStack | None = None, lifts: int = 0) -> int:
    """Set what we rely on; the process id of the server's session.

    With `transaction` it is set in a transaction that begins here and goes on until that stack is left. `lifts` are
    the tries before this one.
    """
    values = settling(connection.info.backend_pid)
    try:
        with ExitStack() as begun:
            if lifts or transaction is not None:
                begun.enter_context(connection.transaction())
            if lifts:
                connection.execute(LIFT)
            row = connection.execute(SETTLE, values).fetchone()
            if transaction is not None:
                transaction.push(begun.pop_all())
    except psycopg.errors.QueryCanceled:
        # It ended the transaction: another try needs one of its own.
        if lifts == LIFTS:
            raise
        return _settle(connection, transaction, lifts + 1)
    return int(row[0]) if row is not None else 0


def engine(url: str, *, application: str | None = None) -> "Engine":
    """An SQLAlchemy engine without a pool: each `with engine.connect()` is a session of its own."""
    from sqlalchemy import NullPool, create_engine, event  # noqa: PLC0415 - slow, and the client never needs it

    options = connection_options(url, application or program_name())
    made = create_engine("postgresql+psycopg://", poolclass=NullPool, connect_args=options)

    @event.listens_for(made, "connect")
    def _(connection: psycopg.Connection[Any], _record: object) -> None:
        _settle(connection)
        connection.autocommit = False

    return made


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
