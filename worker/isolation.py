"""One step for a whole batch, where only the item at fault may fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from loradex.errors import (
    ClientClosedError,
    DatabaseRefusesError,
    DatabaseUnavailableError,
    DeviceBrokenError,
    LoradexError,
    PermissionRefusedError,
    SchemaOutdatedError,
)

REFUSED = (DatabaseRefusesError, PermissionRefusedError, SchemaOutdatedError)
"""Postgres refuses this to every job alike."""

OUTAGES = (DatabaseUnavailableError, ClientClosedError, DeviceBrokenError, *REFUSED)
"""No job is at fault. A job may still be the cause of an outage that is not among `REFUSED`: it may need more memory or
time than there is."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why one item of a batch has no result; `code` is for programs, `message` for people."""

    code: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """The failure an exception stands for; `internal` is what nobody planned."""
        if isinstance(error, LoradexError):
            return cls(error.code, str(error))
        return cls("internal", f"{type(error).__name__}: {error}")


def run_isolated(
    step: Callable[[Sequence[Item]], Sequence[Result | Failure]], items: Sequence[Item]
) -> list[Result | Failure]:
    """The step for all items at once; if that raises, for each alone, so that the others do not suffer.

    An outage of Postgres is not the fault of any item and is raised.
    """
    if not items:
        return []
    try:
        return list(step(items))
    except OUTAGES:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it must end as one recorded failure
        if len(items) == 1:
            return [Failure.of(error)]
    return [result for item in items for result in run_isolated(step, [item])]
