"""Erasing what people asked and were answered, batch by batch, while the chain holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from loradex.errors import InvalidArgumentError

Connection = psycopg.Connection[tuple[Any, ...]]

OWNERS = "select owner_id, min(created_at) from loradex.jobs where owner = %s group by 1 order by 1"
COUNT = """
    select count(*) from loradex.jobs_to_erase(%(jobs)s::uuid[], %(owner)s::bigint, %(before)s::timestamptz)"""
ERASE = """
    select jobs, answers from loradex.erase_jobs(
        %(reason)s, %(asked_by)s, %(jobs)s::uuid[], %(owner)s::bigint, %(before)s::timestamptz)"""
VACUUM = "vacuum loradex.answers, loradex.jobs"


@dataclass(frozen=True)
class Selection:
    """Whose texts go: all that is given must be true of a job."""

    jobs: Sequence[UUID] | None
    owner: int | None
    before: datetime | None

    def values(self) -> dict[str, Any]:
        jobs = None if self.jobs is None else list(self.jobs)
        return {"jobs": jobs, "owner": self.owner, "before": self.before}


@dataclass
class Erased:
    """How many jobs, and how many answers among them, hold no texts any more."""

    jobs: int = 0
    answers: int = 0


def owner_named(connection: Connection, name: str) -> int:
    """The id of an owner, by name or by the id itself.

    Raises:
        InvalidArgumentError: Nobody has the name, or several who had it one after the other.
    """
    if name.isascii() and name.isdigit():
        return int(name)
    found = connection.execute(OWNERS, (name,)).fetchall()
    if not found:
        raise InvalidArgumentError(f"nobody named {name} ever asked")
    if len(found) > 1:
        which = ", ".join(f"{owner} (since {since:%Y-%m-%d})" for owner, since in found)
        raise InvalidArgumentError(
            f"several had the name {name}, one after the other: give the number of one, {which}"
        )
    return int(found[0][0])


def count(connection: Connection, selection: Selection) -> int:
    """How many jobs would lose their texts."""
    row = connection.execute(COUNT, selection.values()).fetchone()
    return int(row[0]) if row is not None else 0


def erase(
    connection: Connection, selection: Selection, reason: str, asked_by: str, passed: Callable[[int], None]
) -> Erased:
    """Erase in batches, each in a transaction of its own; `passed` is told how many jobs further it is.

    What Postgres still keeps of the old rows goes with the vacuum at the end, where this login may vacuum.
    """
    erased = Erased()
    values = selection.values() | {"reason": reason, "asked_by": asked_by}
    while True:
        ((jobs, answers),) = connection.execute(ERASE, values).fetchall()
        if jobs == 0:
            break
        erased.jobs += jobs
        erased.answers += answers
        passed(jobs)
    connection.execute(VACUUM)
    return erased
