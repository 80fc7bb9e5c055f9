"""Answers once more from their stored facts, and compares."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from loradex.addresses import database_address
from loradex.db.session import connect, translate_errors
from loradex.errors import InvalidArgumentError, LoradexError, UnknownAnswerError
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.model_files import files_of
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.form import Form
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.load import shipped_model
from loradex.worker.engine.quantization import ROUNDS_WHAT_IT_READS
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.isolation import Failure
from loradex.worker.settings import WorkerSettings
from loradex.worker.tolerance import tolerance

VLLM = "vllm"
"""Whose attention our own engine does not have: it answers with its own, which differs by rounding only."""


@dataclass(frozen=True)
class Difference:
    """The first token that came out otherwise; None stands for the end of the text.

    `margin` is how much likelier the replayed token is than the stored one, natural log; None where one is
    missing.
    """

    position: int
    stored: int | None
    replayed: int | None
    margin: float | None


@dataclass(frozen=True)
class Replay:
    """How an answer compares with its replay.

    Attributes:
        same: Recipe, tokens and text are the same, scores and log-probabilities within the tolerance.
        recipe_same: The recipe rebuilt from the stored facts has the stored hash.
        files_same: The model's files are those that answered.
        score_difference: The greatest difference of a choice's score, or None where there are none.
        score_tolerance: How far a score may differ by rounding, or None.
        logprob_difference: The greatest difference of a token's log-probability, or None where none are stored.
        logprob_tolerance: How far that may be by rounding, or None.
        difference: The first token that differs, or None.
        problem: Why it could not be replayed, or None.
    """

    answer_id: str
    problem: str | None = None
    same: bool = False
    recipe_same: bool = False
    files_same: bool = False
    text_same: bool = False
    tokens: int = 0
    score_difference: float | None = None
    score_tolerance: float | None = None
    logprob_difference: float | None = None
    logprob_tolerance: float | None = None
    difference: Difference | None = None


def replay(settings: WorkerSettings, answers: Sequence[UUID], sample: int, seed: int) -> Iterator[Replay]:
    """Answer once more, one after the other: the named answers, then `sample` drawn at random.

    None that was erased is drawn.
    """
    documents = _documents(database_address(settings), answers, sample, seed)
    yield from _replayed(settings, documents)


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


def _replayed(settings: WorkerSettings, documents: Sequence[dict[str, Any]]) -> Iterator[Replay]:
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
            if document["erased"]:
                raise InvalidArgumentError("its question was erased, so that it cannot be answered once more")
            if document["base_model_revision"] != files.revision:
                raise InvalidArgumentError(
                    f"it was answered by {document['base_model']} at {document['base_model_revision']}, and "
                    f"the model at hand is {files.revision}; set LORADEX_BASE_MODEL_PATH"
                )
            if form not in engines:
                engines[form] = Engine.load(
                    model, settings.device, form, settings.bank_bytes, settings.threads, known=files
                )
            yield _compared(engines[form], roots, document)
        except LoradexError as error:
            yield Replay(document["answer_id"], str(error))


def _compared(engine: Engine, roots: AdapterRoots, document: Mapping[str, Any]) -> Replay:
    """Rebuild recipe and row; the bank checks each adapter's content hash when it reads the files."""
    merge, mixture = document["merge"], document["mixture"]
    recipe = Recipe.decided({**merge, "mixture": mixture}, merge["density"], merge["dtype"])
    row = _row(document, recipe)
    engine.bank.ensure({part["sha256"]: roots.locate(part["uri"]) for part in mixture})
    result = engine.answer([row])[0]
    if isinstance(result, Failure):
        return Replay(document["answer_id"], f"{result.code}: {result.message}")
    recipe_same = recipe.hash == merge["recipe_hash"]
    text_same = document["text"] == result.stored_text
    difference = _difference(engine, row, document["token_ids"], result)
    apart, allowed = _score_difference(document["scores"], result), _allowed(engine, document, row)
    further = _logprob_difference(document["logprobs"], result)
    return Replay(
        answer_id=document["answer_id"],
        same=recipe_same
        and text_same
        and difference is None
        and (apart is None or apart <= allowed)
        and (further is None or further <= _each(engine, document)),
        recipe_same=recipe_same,
        files_same=document["versions"].get("base_model") == engine.files.digest,
        text_same=text_same,
        tokens=len(result.token_ids),
        score_difference=apart,
        score_tolerance=None if apart is None else allowed,
        logprob_difference=further,
        logprob_tolerance=None if further is None else _each(engine, document),
        difference=difference,
        problem=None if recipe_same else "the stored recipe hash does not fit the stored components",
    )


def _row(document: Mapping[str, Any], recipe: Recipe) -> Row:
    told = document["generation"]
    return Row.of(
        _framed(document),
        recipe,
        kind=told["kind"],
        choices=told["choices"],
        settings={name: value for name, value in told.items() if name not in {"kind", "choices"}},
        seed=told["seed"],
    )


def _framed(document: Mapping[str, Any]) -> Framed:
    """As it was read then: neither today's frame nor today's chat template is asked."""
    told = document["generation"]
    if "framed" not in told:
        return Framed.of(told["frame"], document["prompt"])
    contents = [one["content"] for one in document["messages"]]
    return Framed.conversation(told["framed"]["parts"], contents, spaced=told["framed"]["spaced"])


def _difference(engine: Engine, row: Row, stored: Sequence[int], result: RowResult) -> Difference | None:
    replayed = result.token_ids
    for position in range(max(len(stored), len(replayed))):
        old = stored[position] if position < len(stored) else None
        new = replayed[position] if position < len(replayed) else None
        if old != new:
            if old is None or new is None:
                return Difference(position, old, new, None)
            return Difference(position, old, new, engine.margin(row, replayed[:position], new, old))
    return None


def _score_difference(stored: Sequence[float] | None, result: RowResult) -> float | None:
    """Infinite where one has scores and the other none, or they are of other choices."""
    if stored is None and result.scores is None:
        return None
    old, new = stored or (), result.scores or ()
    if len(old) != len(new):
        return math.inf
    return max((abs(one - other) for one, other in zip(old, new, strict=True)), default=0.0)


def _logprob_difference(stored: Sequence[Mapping[str, Any]] | None, result: RowResult) -> float | None:
    """Of the tokens that were written; which others were likely may turn over by rounding. Infinite as for scores."""
    if stored is None and result.logprobs is None:
        return None
    old, new = stored or (), result.logprobs or ()
    if len(old) != len(new):
        return math.inf
    return max(
        (abs(one["logprob"] - other.logprob) for one, other in zip(old, new, strict=True)), default=0.0
    )


def _allowed(engine: Engine, document: Mapping[str, Any], row: Row) -> float:
    """A score that is not divided by its length gathers the rounding of each token."""
    each = _each(engine, document)
    whole = row.normalization == "none"
    return (
        each * max((len(engine.text.answer(choice)) for choice in row.choices), default=1) if whole else each
    )


def _each(engine: Engine, document: Mapping[str, Any]) -> float:
    """How far the log-likelihood of one token may differ."""
    told, here = document["generation"]["device"], engine.device.type
    # What is rounded by the rows beside it is not more exact than bfloat16, whatever it is computed in.
    dtype = "bfloat16" if engine.quantization in ROUNDS_WHAT_IT_READS else engine.dtype
    return max(tolerance(device, dtype) for device in (told, here))


def _document(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnknownAnswerError("an answer is gone")
    return value
