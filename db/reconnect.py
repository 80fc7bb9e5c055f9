"""Calls to Postgres that are repeated through an outage."""

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import psycopg
from tenacity import (
    AsyncRetrying,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from loradex.db.outages import is_stale_plan
from loradex.errors import DatabaseUnavailableError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

OUTAGE = retry_if_exception_type(DatabaseUnavailableError)
PAUSES = wait_random_exponential(multiplier=0.1, max=2.0)


def repeat_through_outage(
    seconds: float, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """`call(…)`; while it raises `DatabaseUnavailableError` once more, for `seconds` at most.

    Only for what may be done twice: whether Postgres did it before the outage is unknown. With 0 it is called once
    more only if nothing can have been done: see `nothing_done`.
    """
    try:
        return call(*args, **kwargs)  # what mostly works first needs no machinery
    except DatabaseUnavailableError as error:
        if not seconds and not nothing_done(error):
            raise
    again = Retrying(retry=OUTAGE, wait=PAUSES, stop=stop_after_delay(seconds), reraise=True)
    return again(call, *args, **kwargs)


async def repeat_through_outage_async(
    seconds: float,
    call: Callable[Arguments, Awaitable[Result]],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """`repeat_through_outage` for a coroutine function."""
    try:
        return await call(*args, **kwargs)
    except DatabaseUnavailableError as error:
        if not seconds and not nothing_done(error):
            raise
    again = AsyncRetrying(retry=OUTAGE, wait=PAUSES, stop=stop_after_delay(seconds), reraise=True)
    return await again(call, *args, **kwargs)


def nothing_done(error: DatabaseUnavailableError) -> bool:
    """Whether the server refused the statement: it ended the session, as it does with idle ones, or was upgraded."""
    cause = error.__cause__
    ended = isinstance(cause, psycopg.errors.AdminShutdown | psycopg.errors.IdleSessionTimeout)
    return ended or is_stale_plan(cause)
