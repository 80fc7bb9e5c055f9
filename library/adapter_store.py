"""The adapters of the database, as those who register and look after them see it; nothing here commits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from db.errors import UnknownNameError
from library.adapter_files import AdapterFacts
from library.manifest import BaseModelEntry

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

    def register(self, facts: AdapterFacts, name: str, task: str, uri: str) -> Registered:
        """A new version, active from now on; the same files of the same task again add nothing."""
        with self._connection.cursor(row_factory=class_row(Registered)) as cursor:
            row = cursor.execute(
                """
                select a.name, a.version, a.state, r.created
                from loradex.register_adapter(
                    name => %s, task => %s, base_model => %s, sha256 => %s, uri => %s, rank => %s,
                    alpha => %s, target_modules => %s, dtype => %s, parameters => %s, update_norm => %s,
                    card => %s) r
                join loradex.adapters a on a.id = r.adapter_id
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
            ).fetchone()
        if row is None:
            raise AssertionError("register_adapter returns one row")
        return row

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
