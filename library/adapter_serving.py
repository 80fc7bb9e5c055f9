"""Which adapters answer a task, with their shares, and how to tell what a change did to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True)
class Serving:
    """An active version, and its share of its task's questions."""

    name: str
    version: int
    share: float

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


def serving(connection: psycopg.Connection[Any], base_model: str, task: str) -> list[Serving]:
    """The active adapters of a task, the largest share first."""
    with connection.cursor(row_factory=class_row(Serving)) as cursor:
        return cursor.execute(
            "select name, version, share from loradex.adapters "
            "where base_model = %s and task = %s and state = 'active' order by share desc, id",
            (base_model, task),
        ).fetchall()


def account(task: str, before: Sequence[Serving], after: Sequence[Serving]) -> str:
    """Who answers a task now, and who no longer does, in a sentence."""
    if not after:
        now = f"no adapter answers {task} now"
    elif len(after) == 1:
        now = f"{after[0]} answers {task} now"
    else:
        parts = ", ".join(f"{one} {one.share:.4g}" for one in after)
        now = f"these share {task} now: {parts}"
    kept = {str(one) for one in after}
    gone = [str(one) for one in before if str(one) not in kept]
    return f"{now}; retired: {', '.join(gone)}" if gone else now
