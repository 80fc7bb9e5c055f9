"""Reads the prompts of a group of rows, a piece at a time, into a store of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from loradex.worker.engine.cache import Store, StoreView
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.invocation import reading
from loradex.worker.engine.questions import Question
from loradex.worker.engine.updates import Updates, UpdateSwitch


class Prefill:
    """One pass for several prompts of near length; a single long one is read in several.

    Args:
        forward: The model.
        switch: Where the wrapped modules find the updates of the rows in hand.
        questions: The rows.
        updates: Theirs, in the same order.
        more: Columns the store has after the prompts; None makes no store, since nothing is to follow.
    """

    def __init__(
        self,
        forward: Forward,
        switch: UpdateSwitch,
        questions: Sequence[Question],
        updates: Updates | None,
        more: int | None,
    ) -> None:
        self._forward = forward
        self._switch = switch
        self._ids = [question.ids for question in questions]
        self._updates = updates
        self.columns = max(map(len, self._ids))
        self.store: Store | None = None
        if more is not None:
            self.store = Store(forward.architecture.layers, len(self._ids), self.columns + more)
        self._read = 0

    @property
    def tokens(self) -> int:
        """Tokens of all rows, padding included."""
        return len(self._ids) * self.columns

    def advance(self, tokens: int) -> tuple[int, Tensor | None]:
        """Reads on by about so many tokens; how many it read, and the logits `[rows, vocabulary]` at the end."""
        rows = slice(0, len(self._ids))
        if not self._in_pieces or (self._read == 0 and self.columns <= tokens):
            self._switch.current = reading(self._updates, self._numbers(0, self.columns))
            view = StoreView(self.store, rows, 0) if self.store is not None else None
            return self.tokens, self._forward.prompts(self._ids, view)
        if self.store is None:
            self.store = Store(self._forward.architecture.layers, 1, self.columns)
        piece = self._ids[0][self._read : self._read + tokens]
        self._switch.current = reading(self._updates, self._numbers(self._read, len(piece)))
        logits = self._forward.piece(piece, self._read, StoreView(self.store, rows, 0, self._read))
        self._read += len(piece)
        return len(piece), logits if self._read == self.columns else None

    @property
    def _in_pieces(self) -> bool:
        """Whether it may be read in pieces. Those of a long row would be read as short ones: each call chooses anew."""
        architecture = self._forward.architecture
        return len(self._ids) == 1 and architecture.branches and not architecture.is_long(self.columns)

    def _numbers(self, first: int, count: int) -> Tensor:
        """Which token of its row each column holds; the shorter rows are padded on the left."""
        columns = torch.arange(first, first + count, device=self._forward.device)
        padding = torch.tensor([self.columns - len(row) for row in self._ids], device=self._forward.device)
        return columns - padding.unsqueeze(1)
