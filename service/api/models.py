"""What may stand in `model`: the routed mixture, a base model, an adapter."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from loradex.errors import UnknownNameError
from loradex.service.api.problem import Problem, refused
from loradex.service.client import AsyncClient

ROUTED = "loradex"
"""The name of the mixture that Postgres chooses."""

KNOWN_SECONDS = 5.0
"""How long a name is taken for what it was."""

MODELS: LiteralString = """
    with base as (
        select b.name, b.revision, b.created_at as since, b.name = d.value #>> '{}' as preferred
        from loradex.base_models b cross join loradex.settings d
        where b.retired_at is null and d.name = 'base_model'
    ), adapter as (
        select distinct on (a.name) a.name, b.name as base_model, b.revision, a.registered_at as since
        from loradex.adapters a join base b on b.name = a.base_model
        where a.state = 'active'
        order by a.name, b.preferred desc, b.name, a.version desc
    ), model as (
        select 0 as place, 'loradex' as id, null as parent, name as base_model, null as adapter, null as method,
               revision, since
        from base where preferred
        union all
        select 1, name, null, name, null, 'base', revision, since from base
        union all
        select 2, name, base_model, base_model, name, 'own', revision, since from adapter
    )
    select id, parent, base_model, adapter, method, revision, since, encoder.value #>> '{}' as encoder
    from model left join loradex.settings encoder on encoder.name = 'encoder'
    where %(id)s::text is null or id = %(id)s
    order by place, id"""
"""All of them, or those of one name; the first of a name is meant by it."""

REVISION: LiteralString = "select revision from loradex.base_models where name = %s and retired_at is null"


@dataclass(frozen=True)
class Model:
    """A name that answers.

    Attributes:
        id: The name.
        parent: The base model of an adapter, else None.
        base_model: The base model that answers.
        adapter: The adapter that answers alone, or None.
        method: How adapters are mixed; None where the job may say.
        revision: Hash of the base model's files.
        since: When it was registered.
        encoder: What questions are embedded with where the job says nothing.
    """

    id: str
    parent: str | None
    base_model: str
    adapter: str | None
    method: str | None
    revision: str
    since: datetime
    encoder: str

    def card(self) -> dict[str, Any]:
        """As `/v1/models` lists it."""
        return {
            "id": self.id,
            "object": "model",
            "created": int(self.since.timestamp()),
            "owned_by": "loradex",
            "parent": self.parent,
        }

    def fields(self, said: Mapping[str, Any], called: Callable[[str], str]) -> dict[str, Any]:
        """The fields of a job that this name stands for, and those that were said beside it; null says nothing.

        Args:
            said: The fields of a job.
            called: What the endpoint calls one of them.

        Raises:
            Problem: They do not go together.
        """
        given = {name: value for name, value in said.items() if value is not None}
        if self.method is None:
            return given
        own = {"method": self.method, "base_model": self.base_model, "adapter": self.adapter}
        for name in own:
            if name in given:
                raise refused(
                    f"model {self.id} says the {name} already; ask for model {ROUTED} to choose another",
                    called(name),
                )
        return {**given, **{name: value for name, value in own.items() if value is not None}}

    def fingerprint(self, mixture: Sequence[Mapping[str, Any]]) -> str:
        """Of what answered: base model, adapters and weights. With another one the words may be others.

        Several answers of one mixture have that of one.
        """
        adapters = dict.fromkeys(f"{one['sha256']} {one['weight']:.12g}" for one in mixture)
        parts = [self.revision, *adapters]
        return f"fp_{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"


async def listed(client: AsyncClient) -> list[Model]:
    """Every name that answers."""
    return [Model(**row) for row in await client.rows(MODELS, {"id": None})]


async def named(client: AsyncClient, name: str) -> Model:
    """The model of that name.

    Raises:
        Problem: There is none; the base model does not answer in its place.
    """
    # Postgres has no text with a NUL, and no model of that name.
    for row in await client.rows(MODELS, {"id": name}) if "\0" not in name else ():
        return Model(**row)
    raise Problem(
        404, "model_not_found", f"no model {ascii(name)[:100]}; see /v1/models for those that answer", "model"
    )


class Models:
    """Names that answered a moment ago, so that a question needs one transaction less.

    Names are the same for all, and Postgres judges key and base model when a job is handed in. Adapters it judges when
    the job is routed, which is too late to refuse a request: they are asked for each time.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Model]] = {}

    async def named(self, client: AsyncClient, name: str) -> Model:
        """The model of that name. Raises as `named` does, which is asked each time for what is not known."""
        if name in self._known:
            until, model = self._known[name]
            if until > time.monotonic():
                return model
            del self._known[name]
        model = await named(client, name)
        if model.adapter is None:
            self._known[name] = time.monotonic() + KNOWN_SECONDS, model
        return model


async def with_base(client: AsyncClient, model: Model, base_model: object) -> Model:
    """The model on the base model that a job names beside it.

    Raises:
        UnknownNameError: There is no such base model.
    """
    if base_model is None:
        return model
    for row in await client.rows(REVISION, (str(base_model),)):
        return Model(**{**vars(model), "base_model": str(base_model), "revision": row["revision"]})
    raise UnknownNameError(f"base_model names no base_model {ascii(base_model)[:100]}; see /v1/models")
