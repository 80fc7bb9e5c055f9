"""Ranks the choices of a group of rows, a stretch at a time."""

import time
from collections.abc import Sequence

import torch

from loradex.worker.engine.choose import Chooser, Part, Scored
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.prefill import Prefill
from loradex.worker.engine.questions import Question
from loradex.worker.engine.updates import Updates, UpdateSwitch


class Ranking:
    """First the prompts, then the choices behind them in parts.

    Args:
        forward: The model.
        switch: Where the wrapped modules find the updates of the rows in hand.
        questions: Rows with choices, of near length.
        updates: Theirs, in the same order.
    """

    def __init__(
        self, forward: Forward, switch: UpdateSwitch, questions: Sequence[Question], updates: Updates | None
    ) -> None:
        self._switch = switch
        self.questions = questions
        self._updates = updates
        self._chooser = Chooser(forward)
        self._parts = self._chooser.parts(questions)
        self._prefill = Prefill(forward, switch, questions, updates, self._most_tokens() or None)
        self._likelihoods: list[list[float]] = []
        self._milliseconds = {"prefill": 0.0, "choices": 0.0}

    def advance(self, tokens: int) -> int:
        """Goes on by about so many tokens; how many it read."""
        start = time.perf_counter()
        if not self._likelihoods:
            read = self._begin(tokens)
            stage = "prefill"
        else:
            part = self._parts.pop(0)
            read = sum(
                len(choice) - 1
                for question in self.questions[part.rows]
                for choice in question.choices[part.choices]
            )
            self._add(part)
            stage = "choices"
        self._milliseconds[stage] += 1000 * (time.perf_counter() - start)
        return read

    @property
    def done(self) -> bool:
        return bool(self._likelihoods) and not self._parts

    def scored(self) -> list[Scored]:
        """The scores of each row, once it is done."""
        return [Scored(tuple(row), dict(self._milliseconds)) for row in self._likelihoods]

    def _begin(self, tokens: int) -> int:
        read, logits = self._prefill.advance(tokens)
        if logits is not None:
            wide = logits.float()
            heads = wide - wide.logsumexp(-1, keepdim=True)
            self._likelihoods = [
                heads[row][
                    torch.tensor([choice[0] for choice in question.choices], device=heads.device)
                ].tolist()
                for row, question in enumerate(self.questions)
            ]
        return read

    def _add(self, part: Part) -> None:
        store = self._prefill.store
        if store is None:
            raise RuntimeError("choices of several tokens follow a prompt in a store")
        self._switch.current = self._updates.rows(part.rows) if self._updates is not None else None
        for row, choice, gain in self._chooser.gains(self.questions, part, store, self._prefill.columns):
            self._likelihoods[row][choice] += gain

    def _most_tokens(self) -> int:
        """Columns the largest part needs behind the prompts."""
        return max(
            (
                sum(len(choice) - 1 for choice in question.choices[part.choices])
                for part in self._parts
                for question in self.questions[part.rows]
            ),
            default=0,
        )
