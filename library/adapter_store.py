"""The adapters of the database, as those who register and look after them see it; nothing here commits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import class_row, tuple_row
from psycopg.types.json import Jsonb

from loradex.errors import UnknownNameError
from loradex.library.adapter_files import AdapterFacts
from loradex.library.affinities import Affinity
from loradex.library.manifest import BaseModelEntry

Pair = tuple[str, str]
"""A task, and the content hash of an adapter."""

FIND: LiteralString = """
    select name, version, task, base_model, sha256, uri, rank, alpha, target_modules, dtype, parameters,
           update_norm, state, card, registered_at, retired_at
    from loradex.adapters
    where name = coalesce(%(name)s, name) and version = coalesce(%(version)s, version)
      and (state = 'active' or not %(active_only)s)
    order by name, version"""


@dataclass(frozen=True)
class StoredAdapter:
    """One version of an adapter, as `loradex.adapters` has it."""

    name: str
    version: int
    task: str
    base_model: str
    sha256: str
    uri: str
    rank: int
    alpha: float
    target_modules: list[str]
    dtype: str
    parameters: int
    update_norm: float
    state: str
    card: Mapping[str, Any]
    registered_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True)
class Registered:
    """The version these files are, and whether it was new."""

    name: str
    version: int
    state: str
    uri: str
    created: bool


class AdapterStore:
    """Adapters over one connection; the caller holds the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def put_base_model(self, entry: BaseModelEntry) -> None:
        """Make sure the base model is there; another revision under its name is an error."""
        self._connection.execute(
            "select loradex.register_base_model(%s, %s, %s, %s)",
            (entry.name, entry.revision, entry.context_length, entry.frame),
        )

    def require_base_model(self, name: str) -> None:
        """`UnknownNameError` that says how a base model becomes known."""
        if (
            self._connection.execute("select from loradex.base_models where name = %s", (name,)).fetchone()
            is None
        ):
            raise UnknownNameError(
                f"base model {name} is not known yet: start a worker once (`loradex up`) or load its library "
                "(`loradex library load`), then register again"
            )

    def register(self, facts: AdapterFacts, name: str, task: str, uri: str) -> Registered:
        """A new version, active from now on; the same files of the same task again add nothing."""
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            adapter_id, created = next(
                cursor.execute(
                    """
                    select adapter_id, created from loradex.register_adapter(
                        name => %s, task => %s, base_model => %s, sha256 => %s, uri => %s, rank => %s,
                        alpha => %s, target_modules => %s, dtype => %s, parameters => %s, update_norm => %s,
                        card => %s)
                    """,
                    (
                        name,
                        task,
                        facts.base_model,
                        facts.sha256,
                        uri,
                        facts.rank,
                        facts.alpha,
                        list(facts.target_modules),
                        facts.dtype,
                        facts.parameters,
                        facts.update_norm,
                        Jsonb({**facts.card, "files": dict(facts.files), "warnings": list(facts.warnings)}),
                    ),
                )
            )
            # A statement of its own: the row is not visible to the one that made it.
            version_name, version, state, place = next(
                cursor.execute(
                    "select name, version, state, uri from loradex.adapters where id = %s", (adapter_id,)
                )
            )
        return Registered(version_name, version, state, place, created)

    def find(
        self, name: str | None = None, version: int | None = None, *, active_only: bool = False
    ) -> list[StoredAdapter]:
        """Every version of every adapter, or those of one name, in order."""
        with self._connection.cursor(row_factory=class_row(StoredAdapter)) as cursor:
            return cursor.execute(
                FIND, {"name": name, "version": version, "active_only": active_only}
            ).fetchall()

    def get(self, name: str, version: int | None = None) -> StoredAdapter:
        """One version, the newest unless it is named; `UnknownNameError` if there is none."""
        found = self.find(name, version)
        if not found:
            shown = name if version is None else f"{name} version {version}"
            raise UnknownNameError(f"no adapter {shown}; `loradex adapter list` shows all")
        return found[-1]

    def set_state(self, name: str, version: int, state: str) -> None:
        self._connection.execute("select loradex.set_adapter_state(%s, %s, %s)", (name, version, state))

    def affinities(self, base_model: str) -> dict[Pair, Affinity]:
        """What was measured of the base model's adapters."""
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(
                "select f.task, a.sha256::text, f.score, f.n from loradex.task_affinities f "
                "join loradex.adapters a on a.id = f.adapter_id where a.base_model = %s",
                (base_model,),
            ).fetchall()
        return {(task, sha256): Affinity(score=score, n=n) for task, sha256, score, n in rows}

    def put_affinities(self, base_model: str, measured: Mapping[Pair, Affinity]) -> None:
        """Keep how well adapters answer tasks; replaces figures that are there."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "select loradex.register_affinity(%s, %s, %s, %s, %s)",
                [
                    (task, base_model, sha256, affinity.score, affinity.n)
                    for (task, sha256), affinity in measured.items()
                ],
            )
