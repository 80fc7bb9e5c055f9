"""One view of the database, in which nothing of the database's own is called."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

from loradex.db.session import connect, translate_errors

Connection = psycopg.Connection[tuple[Any, ...]]

PINNED = (
    # No function, operator or type but Postgres's own is found by its bare name.
    "set search_path = pg_catalog",
    "set client_encoding = 'UTF8'",
    "set timezone = 'UTC'",
    "set datestyle = 'ISO, YMD'",
    "set bytea_output = 'hex'",
    "set extra_float_digits = 1",
    # A login's limits are made for questions, and this looks at all there is.
    "set statement_timeout = 0",
    "set idle_in_transaction_session_timeout = 0",
    "set jit = off",
)
"""What shapes the text of a value, whatever the database, the login or the environment sets."""


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """A connection in one read-only transaction, which sees what was committed when it began.

    Raises:
        DatabaseUnavailableError: Nothing answers at the address, or it refuses this user.
        PermissionRefusedError: The user may not read a table that is asked for.
        SchemaOutdatedError: A table or column that is asked for is not there.
    """
    with translate_errors(), connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            for setting in PINNED:
                connection.execute(setting)
            # Before the snapshot is taken: who waits for an archive's drop later would see neither answers nor note.
            with suppress(psycopg.errors.WrongObjectType), connection.transaction():
                connection.execute("lock table loradex.answers in access share mode")
            yield connection


def as_printed(cursor: psycopg.Cursor[tuple[Any, ...]], types: Iterable[int]) -> None:
    """Make a cursor give values of these types as the text that Postgres prints."""
    for oid in types:
        cursor.adapters.register_loader(oid, TextLoader)
