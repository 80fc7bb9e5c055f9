"""The choices of an answer with the scores by which one of them won."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TITLES = {
    "none": "Log-likelihood",
    "tokens": "Log-likelihood a token",
    "bytes": "Log-likelihood a byte",
}
"""What a score is, by what it was divided by (`normalization`)."""

ERASED = "erased"


@dataclass(frozen=True)
class Scored:
    """One choice.

    Attributes:
        score: As it was recorded.
        share: Its mean share in the asker's answers before; None where none were counted.
        judged: By which it won or lost: the score less the logarithm of the share.
    """

    choice: str
    score: float
    share: float | None
    judged: float
    won: bool


def scored(told: Mapping[str, Any]) -> Sequence[Scored]:
    """The choices in the document of an answer, that which won first; none where a text was written."""
    scores = told["scores"]
    if scores is None:
        return []
    choices = told["generation"]["choices"] or [ERASED] * len(scores)
    shares = (told["generation"].get("prior") or {}).get("shares") or [None] * len(scores)
    found = [
        Scored(choice, score, share, score - math.log(share or 1), choice == told["choice"])
        for choice, score, share in zip(choices, scores, shares, strict=True)
    ]
    return sorted(found, key=lambda one: -one.judged)


def title_of(told: Mapping[str, Any]) -> str:
    """What the scores of an answer are."""
    return TITLES.get(told["generation"].get("normalization", ""), "Score")
