"""`/v1/decisions`: questions about an input, each answered by ranking choices; nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loradex.service.api import copies
from loradex.service.api.asking import Asked
from loradex.service.api.bodies import MOST_CHOICES, DecisionBody, Question, text_of
from loradex.service.api.chat import messages_of
from loradex.service.api.models import Model
from loradex.service.api.problem import refused
from loradex.service.api.replies import provenance
from loradex.service.api.room import Share

YES, NO = "yes", "no"


@dataclass(frozen=True)
class Ranking:
    """A question as a job ranks it.

    Attributes:
        question: The question.
        asked: What the model reads, as fields of a job: the input, the instructions, and what a choice means where
            that was said. Of a conversation these are the end of its last message.
        texts: The choices as the model reads them.
        values: The same choices as the client named them.
    """

    question: Question
    asked: Mapping[str, Any]
    texts: Sequence[str]
    values: Sequence[str | bool]

    def answer(self, asked: Asked, model: Model, edge: float | None) -> dict[str, Any]:
        """In the words of OpenAI's decisions; the scores lie in `loradex`."""
        found = provenance(asked, model, edge)
        shares = [one["probability"] for one in found["scores"]]
        # Not the highest score where choices are judged by what answers before gave them.
        best = asked.answer["generation"]["choices"].index(asked.answer["choice"])
        told = {"type": self.question.type, "name": self.question.name, "loradex": found}
        match self.question.type:
            case "predicate":
                return {**told, "probability": shares[0]}
            case "choice":
                return {
                    **told,
                    "choice": self.values[best],
                    "confidence": shares[best],
                    "probabilities": [
                        {"value": value, "probability": share}
                        for value, share in zip(self.values, shares, strict=True)
                    ],
                }
            case _:
                return {
                    **told,
                    "score": sum(place * share for place, share in enumerate(shares, 1)),
                    "confidence": shares[best],
                    "probabilities": [
                        {"label": label, "value": place, "probability": share}
                        for place, (label, share) in enumerate(zip(self.texts, shares, strict=True), 1)
                    ],
                }


def rankings_of(body: DecisionBody, share: Share) -> list[Ranking]:
    """The questions, in order; what they hold altogether is counted in the request's `share`.

    Raises:
        Problem: A question has no choices, or some that are not hers; a part of the input is no text; the input is too
            long to stand in each question, or there is no room for that now.
    """
    read = body.input if isinstance(body.input, str) else messages_of(body.input, "input")
    copies.require_room(share, copies.characters_of(read), len(body.questions), "input")
    return [_ranking(question, read, f"questions.{place}") for place, question in enumerate(body.questions)]


def _ranking(question: Question, read: str | Sequence[Mapping[str, str]], place: str) -> Ranking:
    asked = text_of(question.instructions, f"{place}.instructions")
    values: list[str | bool]
    means: Mapping[str, str | None] = {}
    match question.type:
        case "predicate":
            _without(question, place, "choices", "levels")
            values, texts = [True, False], [YES, NO]
        case "choice":
            _without(question, place, "levels")
            given = question.choices or _missing(place, "choices")
            values = [one.value for one in given]
            texts = [one if isinstance(one, str) else str(one).lower() for one in values]
            means = dict(zip(texts, (one.description for one in given), strict=True))
        case "score":
            _without(question, place, "choices")
            levels = question.levels or _missing(place, "levels")
            texts = [one.label for one in levels]
            values = [*texts]
            means = dict(zip(texts, (one.description for one in levels), strict=True))
    if len({text.strip() for text in texts}) < len(texts):
        raise refused("two choices read the same; give each once", place)
    lines = [asked, *(f"{text}: {said}" for text, said in means.items() if said)]
    return Ranking(question, _followed_by(read, lines), texts, values)


def _followed_by(read: str | Sequence[Mapping[str, str]], lines: Sequence[str]) -> dict[str, Any]:
    """The input with these lines at its end; a conversation keeps its messages."""
    if not isinstance(read, str):
        last = _followed_by(read[-1]["content"], lines)["prompt"]
        return {"messages": [*read[:-1], {**read[-1], "content": last}]}
    return {"prompt": "\n".join(line for line in (read, *lines) if line.strip())}


def _without(question: Question, place: str, *names: str) -> None:
    for name in names:
        if getattr(question, name) is not None:
            raise refused(f"a question of type {question.type} has no {name}", f"{place}.{name}")


def _missing(place: str, name: str) -> Any:
    raise refused(f"give 2 to {MOST_CHOICES} {name}", f"{place}.{name}")
