"""Erasing what people asked and were answered, batch by batch, while the chain holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from loradex.errors import InvalidArgumentError

Connection = psycopg.Connection[tuple[Any, ...]]

OWNERS = """
    select owner_id as id, owner as name, min(created_at) as since from loradex.jobs
    where owner = %(name)s or owner_id = %(id)s
    group by 1, 2 order by 1"""
ID_DIGITS = 18
"""So many fit a bigint."""
COUNT = """
    select count(*) from loradex.jobs_to_erase(%(jobs)s::uuid[], %(owner)s::bigint, %(before)s::timestamptz)"""
ERASE = """
    select jobs, answers from loradex.erase_jobs(
        %(reason)s, %(asked_by)s, %(jobs)s::uuid[], %(owner)s::bigint, %(before)s::timestamptz)"""
VACUUM = "vacuum loradex.answers, loradex.jobs"


@dataclass(frozen=True)
class Owner:
    """A login that asked, and since when; its name may be somebody else's later."""

    id: int
    name: str
    since: datetime


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


def owner_called(connection: Connection, called: str) -> Owner:
    """The owner of that name; without one, the owner with that id.

    Raises:
        InvalidArgumentError: Nobody fits, or several do: names are given again, and a name may look like an id.
    """
    is_id = called.isascii() and called.isdigit() and len(called) <= ID_DIGITS
    number = int(called) if is_id else None
    found = _owners(connection, called, number)
    if not found:
        raise InvalidArgumentError(f"nobody named {called} ever asked")
    if len(found) > 1:
        which = " or ".join(f"--owner-id {one.id} ({one.name}, since {one.since:%Y-%m-%d})" for one in found)
        raise InvalidArgumentError(f"several owners fit {called}: choose one with {which}")
    return found[0]


def owner_with_id(connection: Connection, number: int) -> Owner:
    """The owner with that id, whatever names there are.

    Raises:
        InvalidArgumentError: There is none.
    """
    found = _owners(connection, None, number)
    if not found:
        raise InvalidArgumentError(f"nobody with the id {number} ever asked")
    return found[0]


def _owners(connection: Connection, name: str | None, number: int | None) -> list[Owner]:
    with connection.cursor(row_factory=class_row(Owner)) as cursor:
        return cursor.execute(OWNERS, {"name": name, "id": number}).fetchall()


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
