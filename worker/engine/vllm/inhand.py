"""Rows in hand: what vLLM is asked for each of them, and what is made of what it says."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loradex.worker.engine.choose import Scored
from loradex.worker.engine.protocol import Event, Failed, Finished, Wrote
from loradex.worker.engine.questions import Question
from loradex.worker.engine.results import chosen, written
from loradex.worker.engine.rows import Logprobs, RowResult
from loradex.worker.engine.sampling import Picked
from loradex.worker.engine.text import Text
from loradex.worker.engine.vllm.joint import Likely, Said
from loradex.worker.engine.vllm.mixtures import Mixed
from loradex.worker.engine.vllm.wishes import read_as, written_as
from loradex.worker.engine.writing import Writing
from loradex.worker.isolation import Failure


@dataclass(frozen=True)
class Request:
    """What vLLM is asked: tokens to read, and parameters."""

    ids: Sequence[int]
    parameters: Mapping[str, Any]


class Written:
    """A row that writes: one request.

    Attributes:
        question: The row.
        mixed: Its mixture.
        begun: Whether something was heard of it.
        done: Whether its answer was given out.
        names: What its requests are called.
    """

    def __init__(self, question: Question, mixed: Mixed, ends: frozenset[int], text: Text) -> None:
        self.question = question
        self.mixed = mixed
        self.done = False
        self.names: list[str] = []
        self._ends = ends
        self._text = text
        self._since = time.perf_counter()
        self._asked = False
        self._writing: Writing | None = None

    @property
    def begun(self) -> bool:
        return self._writing is not None

    def requests(self) -> list[Request]:
        """What is to be asked now."""
        if self._asked:
            return []
        self._asked = True
        return [Request(self.question.ids, written_as(self.question, self._ends))]

    def hear(self, said: Said) -> list[Event]:
        """Takes the tokens of a step."""
        writing = self._writing = self._writing or self._begin()
        goes_on = True
        for piece in said.outputs:
            for token, likely in zip(piece.token_ids, piece.logprobs or (), strict=True):
                goes_on = goes_on and writing.take(self._picked(token, likely))
        if said.finished and goes_on:
            return self._end(Failure("internal", "vLLM ended the text before it was whole"))
        events: list[Event] = []
        if text := writing.piece():
            events.append(Wrote(self.question.ticket, text))
        return events if goes_on else [*events, *self._end(written(writing, self._text.token))]

    def _begin(self) -> Writing:
        """Until now it waited, and its prompt was read."""
        timings = {
            "merge": self.mixed.report.milliseconds,
            "prefill": 1000 * (time.perf_counter() - self._since),
        }
        return Writing(self.question, self.mixed.report, timings, self._ends, self._text.raw)

    def _picked(self, token: int, likely: Mapping[int, Likely]) -> Picked:
        own = likely[token].logprob
        told = self.question.row.logprobs
        if told is None or not math.isfinite(own):
            return Picked(token, math.isfinite(own))
        best = sorted((one.rank or 0, other, one.logprob) for other, one in likely.items())[:told]
        likeliest = tuple((other, value) for _, other, value in best if value > -math.inf)
        return Picked(token, finite=True, logprobs=Logprobs(token, own, likeliest))

    def _end(self, result: RowResult | Failure) -> list[Event]:
        self.done = True
        return [_event(self.question, result)]


class Ranked:
    """A row with choices: a request for each, which shares the prompt's keys and values with the others.

    Where a choice's own tokens came out of the cache too (two begin alike, or it was asked before) no likelihood is
    told of them, and it is asked once more without the cache.

    Attributes:
        question: The row.
        mixed: Its mixture.
        begun: Whether something was heard of it.
        done: Whether its answer was given out.
        names: What its requests are called, in the order they were asked.
    """

    def __init__(self, question: Question, mixed: Mixed, _ends: frozenset[int], _text: Text) -> None:
        self.question = question
        self.mixed = mixed
        self.begun = False
        self.done = False
        self.names: list[str] = []
        self._since = time.perf_counter()
        self._wanted = [(choice, True) for choice in range(len(question.choices))]
        self._asked: list[tuple[int, bool]] = []
        self._likelihoods: dict[int, float] = {}

    def requests(self) -> list[Request]:
        """What is to be asked now."""
        wanted, self._wanted = self._wanted, []
        self._asked += wanted
        return [
            Request((*self.question.ids, *self.question.choices[choice]), read_as(from_cache=from_cache))
            for choice, from_cache in wanted
        ]

    def hear(self, said: Said) -> list[Event]:
        """Takes the likelihoods of a choice."""
        self.begun = True
        if not said.finished:
            return []
        place = self.names.index(said.request_id)
        choice, from_cache = self._asked[place]
        tokens = self.question.choices[choice]
        # vLLM's newer runner tells nothing of what came out of the cache, so they are counted from the end. The first
        # entry is of the first token, of which nobody can tell.
        told = (said.prompt_logprobs or (None,))[1:][-len(tokens) :]
        if len(told) < len(tokens) or (said.num_cached_tokens or 0) >= len(self.question.ids):
            if from_cache:
                self._wanted.append((choice, False))
                return []
            return self._end(Failure("internal", "vLLM did not tell how likely each token of a choice is"))
        self._likelihoods[choice] = sum(
            one[token].logprob for token, one in zip(tokens, told, strict=True) if one is not None
        )
        if len(self._likelihoods) < len(self.question.choices):
            return []
        timings = {"choices": 1000 * (time.perf_counter() - self._since)}
        scored = Scored(
            tuple(self._likelihoods[place] for place in range(len(self.question.choices))), timings
        )
        merged = {"merge": self.mixed.report.milliseconds}
        return self._end(chosen(self.question, scored, self.mixed.report, merged))

    def _end(self, result: RowResult | Failure) -> list[Event]:
        self.done = True
        return [_event(self.question, result)]


def _event(question: Question, result: RowResult | Failure) -> Event:
    if isinstance(result, Failure):
        return Failed(question.ticket, result)
    return Finished(question.ticket, result)
