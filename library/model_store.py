"""Base models and encoders of the database, as those who register and look after them see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString, TypeVar

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from loradex.errors import UnknownNameError
from loradex.library.manifest import BaseModelEntry
from loradex.library.module_sizes import Size

Stored = TypeVar("Stored")

BASE_MODELS: LiteralString = """
    select m.name, m.revision, m.context_length, m.frame,
           case when m.chat_template is null then 'one of the user'
                when m.system_role then 'system, user, assistant' else 'user, assistant' end as messages,
           coalesce(m.generation_defaults, '{}') as generation_defaults,
           m.created_at, m.retired_at,
           to_jsonb(m.name) = (select value from loradex.settings where name = 'base_model') as is_default,
           (select count(*) from loradex.adapters a where a.base_model = m.name and a.state = 'active') as adapters,
           (select count(*) from loradex.worker_health w where w.base_model = m.name and w.living) as workers
    from loradex.base_models m
    order by m.name"""
ENCODERS: LiteralString = """
    select e.name, e.revision, e.dimensions, e.created_at, e.retired_at,
           to_jsonb(e.name) = (select value from loradex.settings where name = 'encoder') as is_default,
           (select count(*) from loradex.example_embeddings v where v.encoder = e.name) as examples,
           (select count(*) from loradex.worker_health w where w.encoder = e.name and w.living) as workers
    from loradex.encoders e
    order by e.name"""


@dataclass(frozen=True)
class StoredBaseModel:
    """One base model; `adapters` are its active ones, `workers` the living ones that answer with it.

    `messages` are the ones of a conversation that it takes, `generation_defaults` the settings its texts are written
    with where a job does not say them.
    """

    name: str
    revision: str
    context_length: int
    frame: str
    messages: str
    generation_defaults: dict[str, float]
    created_at: datetime
    retired_at: datetime | None
    is_default: bool
    adapters: int
    workers: int


@dataclass(frozen=True)
class StoredEncoder:
    """One encoder; `examples` have a vector of it, `workers` are the living ones that read with it."""

    name: str
    revision: str
    dimensions: int
    created_at: datetime
    retired_at: datetime | None
    is_default: bool
    examples: int
    workers: int


class ModelStore:
    """Base models and encoders over one connection; the caller holds the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def base_models(self) -> list[StoredBaseModel]:
        with self._connection.cursor(row_factory=class_row(StoredBaseModel)) as cursor:
            return cursor.execute(BASE_MODELS).fetchall()

    def encoders(self) -> list[StoredEncoder]:
        with self._connection.cursor(row_factory=class_row(StoredEncoder)) as cursor:
            return cursor.execute(ENCODERS).fetchall()

    def base_model(self, name: str) -> StoredBaseModel:
        """The one of that name; `UnknownNameError` if there is none."""
        return _named(name, {one.name: one for one in self.base_models()}, "base model")

    def encoder(self, name: str) -> StoredEncoder:
        """The one of that name; `UnknownNameError` if there is none."""
        return _named(name, {one.name: one for one in self.encoders()}, "encoder")

    def default(self, what: Literal["base_model", "encoder"]) -> str | None:
        """The one of jobs that name none."""
        told = self._connection.execute(
            "select value #>> '{}' from loradex.settings where name = %s", (what,)
        ).fetchone()
        return None if told is None or told[0] is None else str(told[0])

    def put_base_model(self, entry: BaseModelEntry) -> None:
        """Make it known, or bring it back; other facts under its name are an error."""
        self._connection.execute(
            "select loradex.register_base_model(%s, %s, %s, %s)",
            (entry.name, entry.revision, entry.context_length, entry.frame),
        )

    def put_encoder(self, name: str, revision: str, dimensions: int) -> None:
        """Make it known with its index, or bring it back; other facts under its name are an error."""
        self._connection.execute("select loradex.register_encoder(%s, %s, %s)", (name, revision, dimensions))

    def modules(self, base_model: str) -> dict[str, Size] | None:
        """Modules an adapter may change, with their weights' `(d_out, d_in)`; None where nobody told yet."""
        told = self._connection.execute(
            "select modules from loradex.base_models where name = %s", (base_model,)
        ).fetchone()
        if told is None or told[0] is None:
            return None
        return {module: (int(d_out), int(d_in)) for module, (d_out, d_in) in told[0].items()}

    def describe_base_model(self, name: str, revision: str, modules: Mapping[str, Size]) -> None:
        """Keep the sizes of its modules, in place of what was told before."""
        self._connection.execute(
            "select loradex.describe_base_model(%s, %s, %s)", (name, revision, Jsonb(dict(modules)))
        )

    def aliases(self, base_model: str) -> frozenset[str]:
        """Other names of a base model, in small letters."""
        rows = self._connection.execute(
            "select alias from loradex.base_model_aliases where base_model = %s", (base_model,)
        ).fetchall()
        return frozenset(str(alias) for (alias,) in rows)

    def alias_base_model(self, alias: str, base_model: str) -> None:
        """Let an adapter's config call it so; `UnknownNameError` if there is no such base model."""
        self._connection.execute("select loradex.alias_base_model(%s, %s)", (alias, base_model))

    def set_chat_template(self, name: str, template: str, *, system_role: bool) -> None:
        """Let its conversations be read by this template, in place of the one before."""
        self._connection.execute(
            "select loradex.set_chat_template(%s, %s, %s)", (name, template, system_role)
        )

    def set_generation_defaults(self, name: str, defaults: Mapping[str, float]) -> None:
        """Let its texts be written with these where a job does not say them, in place of those before."""
        self._connection.execute(
            "select loradex.set_generation_defaults(%s, %s)", (name, Jsonb(dict(defaults)))
        )

    def retire_base_model(self, name: str) -> None:
        self._connection.execute("select loradex.retire_base_model(%s)", (name,))

    def retire_encoder(self, name: str) -> None:
        self._connection.execute("select loradex.retire_encoder(%s)", (name,))


def _named(name: str, known: Mapping[str, Stored], what: str) -> Stored:
    if name not in known:
        raise UnknownNameError(f"no {what} {name!r}; known are: {', '.join(known) or 'none yet'}")
    return known[name]
