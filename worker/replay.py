"""Answers once more from their stored facts, and compares."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from loradex.addresses import database_address
from loradex.db.session import connect, translate_errors
from loradex.errors import LoradexError, ReplayRefusedError, UnknownAnswerError
from loradex.library.model_files import files_of
from loradex.worker.comparison import Replay, compared
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.form import Form
from loradex.worker.engine.load import shipped_model
from loradex.worker.isolation import Failure
from loradex.worker.jobs import PLACES
from loradex.worker.settings import WorkerSettings
from loradex.worker.stored import Stored, hashes_of, require_model

VLLM = "vllm"
"""Whose attention our own engine does not have: it answers with its own, which differs by rounding only."""


def replay(settings: WorkerSettings, answers: Sequence[UUID], sample: int, seed: int) -> Iterator[Replay]:
    """Answer once more, one after the other: the named answers, then `sample` drawn at random.

    None that was erased is drawn.
    """
    url = database_address(settings)
    documents = _documents(url, answers, sample, seed)
    yield from _replayed(settings, documents, _places(url, documents))


def _documents(url: str, answers: Sequence[UUID], sample: int, seed: int) -> list[dict[str, Any]]:
    with translate_errors(), connect(url) as connection:
        ids = list(answers)
        if sample > 0:
            drawn = connection.execute(
                "select id from loradex.answers where commitments is null order by md5(id::text || %s::text) limit %s",
                (seed, sample),
            ).fetchall()
            ids += [UUID(str(row[0])) for row in drawn]
        rows = connection.execute(
            "select loradex.explain(a.id) from unnest(%s::uuid[]) as a (id)", (ids,)
        ).fetchall()
    return [_document(row[0]) for row in rows]


def _places(url: str, documents: Sequence[dict[str, Any]]) -> dict[str, Mapping[str, str]]:
    """Base model → where its adapters are registered now."""
    hashes: dict[str, set[str]] = defaultdict(set)
    for one in documents:
        hashes[one["base_model"]].update(hashes_of(one))
    with translate_errors(), connect(url) as connection:
        return {
            base_model: dict(connection.execute(PLACES, (base_model, list(some))).fetchall())
            for base_model, some in hashes.items()
        }


def _replayed(
    settings: WorkerSettings, documents: Sequence[dict[str, Any]], places: Mapping[str, Mapping[str, str]]
) -> Iterator[Replay]:
    model = settings.base_model_path or shipped_model(settings.home / "cache" / "models")
    files = files_of(model)
    roots = settings.roots()
    engines: dict[Form, Engine] = {}
    for document in documents:
        told = document["generation"]
        form = replace(
            settings.form,
            dtype=document["merge"]["dtype"],
            attention=None if told.get("attention") == VLLM else told.get("attention"),
            quantization=told.get("quantization"),
        )
        try:
            require_model(document, files)
            require_ours(document)
            if form not in engines:
                engines[form] = Engine.load(
                    model, settings.device, form, settings.bank_bytes, settings.threads, known=files
                )
            yield _answered(engines[form], Stored.of(document, roots, places.get(document["base_model"], {})))
        except LoradexError as error:
            yield Replay(document["answer_id"], str(error))


def require_ours(document: Mapping[str, Any]) -> None:
    """Refuse an answer that our own engine can never give again; `ask_replay` refuses the same.

    Raises:
        ReplayRefusedError: vLLM sampled it, or computed with arguments or weights that we do not have.
    """
    told, versions = document["generation"], document["versions"]
    quantization = told.get("quantization")
    if VLLM in versions and told["kind"] == "generate" and (told.get("sampling_temperature") or 0) > 0:
        raise ReplayRefusedError(
            "vLLM sampled it, with random numbers of its own that no other engine draws; what it wrote at "
            "sampling_temperature 0 can be replayed"
        )
    if (given := versions.get("vllm_arguments")) is not None:
        raise ReplayRefusedError(
            f"vLLM computed it with {given}, which makes another model of it, and our own engine has none of that"
        )
    if VLLM in versions and quantization is not None:
        raise ReplayRefusedError(
            f"vLLM computed it with weights quantised by {quantization}, which it rounds otherwise than our own engine"
        )


def _answered(engine: Engine, stored: Stored) -> Replay:
    """The bank checks each adapter's content hash when it reads the files."""
    engine.bank.ensure(stored.adapters)
    result = engine.answer([stored.row])[0]
    if isinstance(result, Failure):
        return Replay(stored.document["answer_id"], f"{result.code}: {result.message}")
    return compared(engine, stored, result, partial(engine.margin, stored.row))


def _document(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnknownAnswerError("an answer is gone")
    return value
