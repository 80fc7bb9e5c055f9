"""The adapters of the database, as those who register and look after them see it; nothing here commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import class_row, tuple_row
from psycopg.types.json import Jsonb

from loradex.errors import UnknownNameError
from loradex.library.adapter_files import AdapterFacts
from loradex.library.adapter_roots import AdapterPlace
from loradex.library.affinities import Affinity

Pair = tuple[str, str]
"""A task, and the content hash of an adapter."""

FIND: LiteralString = """
    select name, version, task, base_model, sha256, uri, rank, alpha, target_modules, dtype, parameters,
           update_norm, trained_on, state, share, card, registered_at, retired_at
    from loradex.adapters
    where id = coalesce(%(id)s, id) and name = coalesce(%(name)s, name)
      and version = coalesce(%(version)s, version) and state = any (%(states)s)
    order by name, version"""
STATES = ("active", "staged", "retired")


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
    trained_on: list[str]
    state: str
    share: float
    card: Mapping[str, Any]
    registered_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True)
class Wanted:
    """How an adapter is to be registered.

    Attributes:
        place: Its directory, as `AdapterRoots.place` has it.
        state: `active`, or `staged` until it is activated.
        share: Its part of the task's questions; 1 retires the task's other adapters.
        trained_on: Tasks it was trained on beside its own.
    """

    name: str
    task: str
    place: AdapterPlace
    state: str = "active"
    share: float = 1.0
    trained_on: Sequence[str] = ()


@dataclass(frozen=True)
class Registered:
    """The version these files are, and whether it was new; `moved_from` is where workers looked for it until now."""

    name: str
    version: int
    state: str
    share: float
    uri: str
    created: bool
    moved_from: str | None = None


class AdapterStore:
    """Adapters over one connection; the caller holds the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

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

    def register(self, facts: AdapterFacts, wanted: Wanted) -> Registered:
        """A new version; the same files of the same task again change nothing but their place."""
        before = self.place_of(facts, wanted.task)
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            adapter_id, created = next(
                cursor.execute(
                    """
                    select adapter_id, created from loradex.register_adapter(
                        name => %s, task => %s, base_model => %s, sha256 => %s, uri => %s, rank => %s,
                        alpha => %s, target_modules => %s, dtype => %s, parameters => %s, update_norm => %s,
                        card => %s, state => %s, share => %s, trained_on => %s, root => %s)
                    """,
                    (
                        wanted.name,
                        wanted.task,
                        facts.base_model,
                        facts.sha256,
                        wanted.place.uri,
                        facts.rank,
                        facts.alpha,
                        list(facts.target_modules),
                        facts.dtype,
                        facts.parameters,
                        facts.update_norm,
                        Jsonb({**facts.card, "files": dict(facts.files), "warnings": list(facts.warnings)}),
                        wanted.state,
                        wanted.share,
                        list(wanted.trained_on),
                        wanted.place.root,
                    ),
                )
            )
        # A statement of its own: the row is not visible to the one that made it.
        one = self._by_id(adapter_id)
        moved_from = None if created or before == one.uri else before
        return Registered(one.name, one.version, one.state, one.share, one.uri, created, moved_from)

    def find(
        self, name: str | None = None, version: int | None = None, *, states: Sequence[str] = STATES
    ) -> list[StoredAdapter]:
        """Every version of every adapter, or those of one name, in order."""
        return self._find({"id": None, "name": name, "version": version, "states": list(states)})

    def get(self, name: str, version: int | None = None) -> StoredAdapter:
        """One version, the newest unless it is named; `UnknownNameError` if there is none."""
        found = self.find(name, version)
        if not found:
            shown = name if version is None else f"{name} version {version}"
            raise UnknownNameError(f"no adapter {shown}; `loradex adapter list` shows all")
        return found[-1]

    def set_state(self, name: str, version: int | None, state: str, share: float = 1.0) -> StoredAdapter:
        """Activate or retire a version, by default the newest or the active one; which one that was."""
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            (adapter_id,) = next(
                cursor.execute(
                    "select loradex.set_adapter_state(%s, %s, %s, %s)", (name, version, state, share)
                )
            )
        return self._by_id(adapter_id)

    def announced_roots(self, base_model: str) -> list[str]:
        """Where the living workers of a base model read adapters; what most of them have comes first."""
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(
                "select r.root from loradex.worker_health w "
                "cross join unnest(w.adapter_roots) with ordinality r(root, place) "
                "where w.living and w.base_model = %s group by r.root order by count(*) desc, min(r.place)",
                (base_model,),
            ).fetchall()
        return [root for (root,) in rows]

    def is_found(self, registered: Registered) -> bool:
        """Whether retrieval can find it: its tasks have examples, or it was measured to answer some task."""
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            (found,) = next(
                cursor.execute(
                    "select exists (select from loradex.examples x "
                    "where x.task = a.task or x.task = any (a.trained_on)) "
                    "or exists (select from loradex.task_affinities f where f.adapter_id = a.id) "
                    "from loradex.adapters a where a.name = %s and a.version = %s",
                    (registered.name, registered.version),
                )
            )
        return bool(found)

    def place_of(self, facts: AdapterFacts, task: str) -> str | None:
        """Where these files are registered, if they are."""
        known = self._connection.execute(
            "select uri from loradex.adapters where base_model = %s and task = %s and sha256 = %s",
            (facts.base_model, task, facts.sha256),
        ).fetchone()
        return None if known is None else str(known[0])

    def _by_id(self, adapter_id: int) -> StoredAdapter:
        (one,) = self._find({"id": adapter_id, "name": None, "version": None, "states": list(STATES)})
        return one

    def _find(self, wanted: Mapping[str, Any]) -> list[StoredAdapter]:
        with self._connection.cursor(row_factory=class_row(StoredAdapter)) as cursor:
            return cursor.execute(FIND, wanted).fetchall()

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
