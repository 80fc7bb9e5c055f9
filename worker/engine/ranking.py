"""Ranks the choices of a group of rows, a stretch at a time."""

import time
from collections.abc import Sequence

import torch

from loradex.worker.engine.cache import Store
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
        self._tail = self._most_tokens()
        self._copied: tuple[slice, Store] | None = None
        rows = max((len(questions[part.rows]) for part in self._parts), default=0)
        columns = max(len(question.ids) for question in questions)
        # Behind all prompts there are columns, or behind a copy of those of a part's rows, whatever is less.
        self._copies = len(questions) * self._tail > rows * (columns + self._tail)
        more = 0 if self._copies else self._tail
        self._prefill = Prefill(forward, switch, questions, updates, more if self._parts else None)
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
        store, columns = self._prefill.store, self._prefill.columns
        if store is None:
            raise RuntimeError("choices of several tokens follow a prompt in a store")
        self._switch.current = self._updates.rows(part.rows) if self._updates is not None else None
        questions, first, there = self.questions, 0, part
        if self._copies:
            store = self._copy(store, part.rows)
            questions, first = questions[part.rows], part.rows.start
            there = Part(slice(0, len(questions)), part.choices)
        for row, choice, gain in self._chooser.gains(questions, there, store, columns):
            self._likelihoods[first + row][choice] += gain

    def _copy(self, store: Store, rows: slice) -> Store:
        """The prompts of these rows with columns behind them; there is one such copy at a time."""
        if self._copied is None or self._copied[0] != rows:
            self._copied = None
            columns = self._prefill.columns
            self._copied = rows, store.copied(rows, columns, columns + self._tail)
        return self._copied[1]

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
