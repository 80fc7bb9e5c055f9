"""A connection to Postgres that outlives outages, and calls that are repeated through one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import psycopg
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from loradex.db.session import connect, translate_errors
from loradex.errors import ClientClosedError, DatabaseUnavailableError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0


class Reconnecting:
    """One connection, made when it is first needed and made anew after an outage; threads may share it.

    Args:
        url: Where Postgres is.
        prepare: What is done with every new connection before it is used.
    """

    def __init__(self, url: str, prepare: Callable[[psycopg.Connection[Any]], None] | None = None) -> None:
        self._url = url
        self._prepare = prepare
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._closed = False

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection; what Postgres reports within is raised as a typed error."""
        with translate_errors():
            connection = self._connected()
            try:
                yield connection
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.NotSupportedError):
                connection.close()  # also where a plan is of the schema before an upgrade
                raise

    def close(self) -> None:
        """Give the connection back, for good."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        with self._lock:
            if self._closed:
                raise ClientClosedError("this client was closed; make a new one")
            if self._connection is None or self._connection.closed:
                self._connection = None
                connection = connect(self._url)
                try:
                    if self._prepare is not None:
                        self._prepare(connection)
                except BaseException:
                    connection.close()
                    raise
                self._connection = connection
            return self._connection


def repeat_through_outage(
    seconds: float, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """`call(…)`; while it raises `DatabaseUnavailableError` once more, for `seconds` at most, 0 for never.

    Only for what may be done twice: whether Postgres did it before the outage is unknown.
    """
    try:
        return call(*args, **kwargs)  # what mostly works first needs no machinery
    except DatabaseUnavailableError:
        if not seconds:
            raise
        again = Retrying(
            retry=retry_if_exception_type(DatabaseUnavailableError),
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
            stop=stop_after_delay(seconds),
            reraise=True,
        )
        return again(call, *args, **kwargs)
