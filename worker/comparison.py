"""How an answer compares with its replay, in figures and in words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loradex.worker.engine.engine import Engine
from loradex.worker.engine.quantization import ROUNDS_WHAT_IT_READS
from loradex.worker.engine.rows import RowResult
from loradex.worker.stored import Document, Stored
from loradex.worker.tolerance import tolerance

Margin = Callable[[Sequence[int], int, int], float | None]
"""How much likelier one token is than another behind what was written; None where nobody can tell."""


@dataclass(frozen=True)
class Difference:
    """The first token that came out otherwise; None stands for the end of the text.

    `margin` is how much likelier the replayed token is than the stored one, natural log; None where one is
    missing, or where it could not be told.
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


def compared(engine: Engine, stored: Stored, result: RowResult, margin: Margin) -> Replay:
    """The stored answer beside what `engine` answers now."""
    document = stored.document
    recipe_same = stored.recipe.hash == document["merge"]["recipe_hash"]
    text_same = document["text"] == result.stored_text
    difference = _difference(document["token_ids"], result, margin)
    each = _each(engine, document)
    apart, allowed = _score_difference(document["scores"], result), _allowed(engine, stored, each)
    further = _logprob_difference(document["logprobs"], result)
    return Replay(
        answer_id=document["answer_id"],
        same=recipe_same
        and text_same
        and difference is None
        and (apart is None or apart <= allowed)
        and (further is None or further <= each),
        recipe_same=recipe_same,
        files_same=document["versions"].get("base_model") == engine.files.digest,
        text_same=text_same,
        tokens=len(result.token_ids),
        score_difference=apart,
        score_tolerance=None if apart is None else allowed,
        logprob_difference=further,
        logprob_tolerance=None if further is None else each,
        difference=difference,
        problem=None if recipe_same else "the stored recipe hash does not fit the stored components",
    )


def verdict(one: Replay) -> str:
    """The same in words."""
    if one.problem is not None:
        return f"not replayed: {one.problem}"
    said = [_tokens(one)]
    if one.difference is None and not one.text_same:
        said.append("another text is stored than these tokens say")
    for what, apart, allowed in (
        ("scores", one.score_difference, one.score_tolerance),
        ("log-probabilities", one.logprob_difference, one.logprob_tolerance),
    ):
        if apart is not None and allowed is not None:
            within = apart <= allowed
            said.append(
                f"{what} {'within' if within else 'apart by'} {apart:.1e}"
                + ("" if within else f", and rounding explains {allowed:.0e}")
            )
    if not one.files_same:
        said.append("the model's files are not those that answered")
    return ", ".join(said)


def _tokens(one: Replay) -> str:
    difference = one.difference
    if difference is None:
        return f"{'same' if one.same else 'the same'} {one.tokens} tokens"
    margin = difference.margin
    by = "" if margin is None else f", which is now likelier by {margin:.4f} (natural log)"
    return f"token {difference.position + 1} was {difference.stored} and is {difference.replayed}{by}"


def _difference(stored: Sequence[int], result: RowResult, margin: Margin) -> Difference | None:
    replayed = result.token_ids
    for position in range(max(len(stored), len(replayed))):
        old = stored[position] if position < len(stored) else None
        new = replayed[position] if position < len(replayed) else None
        if old != new:
            if old is None or new is None:
                return Difference(position, old, new, None)
            return Difference(position, old, new, margin(replayed[:position], new, old))
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


def _allowed(engine: Engine, stored: Stored, each: float) -> float:
    """A score that is not divided by its length gathers the rounding of each token."""
    if stored.row.normalization != "none":
        return each
    return each * max((len(engine.text.answer(choice)) for choice in stored.row.choices), default=1)


def _each(engine: Engine, document: Document) -> float:
    """How far the log-likelihood of one token may differ."""
    told, here = document["generation"]["device"], engine.device.type
    # What is rounded by the rows beside it is not more exact than bfloat16, whatever it is computed in.
    dtype = "bfloat16" if engine.quantization in ROUNDS_WHAT_IT_READS else engine.dtype
    return max(tolerance(device, dtype) for device in (told, here))
