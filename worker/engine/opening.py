"""Begins the texts of a group of rows: their prompts are read, equal ones once, and each writes its first token."""

import time
from collections.abc import Sequence

from torch import Tensor

from loradex.worker.engine.forward import Forward
from loradex.worker.engine.prefill import Prefill
from loradex.worker.engine.questions import Question
from loradex.worker.engine.running import Running
from loradex.worker.engine.sampling import pick
from loradex.worker.engine.updates import Updates, UpdateSwitch
from loradex.worker.engine.writing import Writing


class Opening:
    """Reads prompts of near length; then the rows join those that write.

    Args:
        forward: The model.
        switch: Where the wrapped modules find the updates of the rows in hand.
        twins: The rows, those together that have prompt and mixture in common.
        updates: One of each of these.
    """

    def __init__(
        self,
        forward: Forward,
        switch: UpdateSwitch,
        twins: Sequence[Sequence[Question]],
        updates: Updates | None,
    ) -> None:
        self.questions = [question for some in twins for question in some]
        # Where each one's prompt is read.
        self._places = [place for place, some in enumerate(twins) for _ in some]
        self._updates = updates
        self._prefill = Prefill(forward, switch, [some[0] for some in twins], updates, 0)
        self._logits: Tensor | None = None
        self._milliseconds = 0.0

    def advance(self, tokens: int) -> int:
        """Goes on by about so many tokens; how many it read."""
        start = time.perf_counter()
        read, self._logits = self._prefill.advance(tokens)
        self._milliseconds += 1000 * (time.perf_counter() - start)
        return read

    @property
    def done(self) -> bool:
        return self._logits is not None

    def timings(self) -> dict[str, float]:
        return {"prefill": self._milliseconds}

    def join(self, running: Running, writings: Sequence[Writing | None]) -> list[Writing]:
        """Each row's first token, and the rows that go on join; those that end with it are given back.

        `writings` has None where nobody wants the row any more.
        """
        if self._logits is None or self._prefill.store is None:
            raise RuntimeError("rows join when their prompts are read")
        wanted = {row: writing for row, writing in enumerate(writings) if writing is not None}
        if not wanted:
            return []
        logits = self._logits[[self._places[row] for row in wanted]]
        picked = pick(logits, [writing.sampler for writing in wanted.values()])
        going = {
            row: writing
            for (row, writing), one in zip(wanted.items(), picked, strict=True)
            if writing.take(one)
        }
        if going:
            places = [self._places[row] for row in going]
            running.join(
                list(going.values()), places, self._prefill.store, self._prefill.columns, self._updates
            )
        return [writing for row, writing in wanted.items() if row not in going]
