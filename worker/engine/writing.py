"""What one row has written so far, and why it ends."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from loradex.worker.engine.constrained import Constrained
from loradex.worker.engine.grammars import margin_of
from loradex.worker.engine.questions import Question
from loradex.worker.engine.rows import Logprobs, MergeReport
from loradex.worker.engine.sampling import Picked, Sampler
from loradex.worker.engine.written_text import WrittenText


class Writing:
    """A row that writes.

    Args:
        question: The row.
        report: What its mixture turned out to be.
        timings: Milliseconds it spent in the stages before.
        ends: Tokens that end a text.
        decode: From tokens to text as it stands.

    Attributes:
        tokens: What it wrote.
        logprobs: How likely each of them was, if the row asks.
        text: Their text.
        finite: False once the model gave it NaN or infinite logits.
        ended: True once it wrote a token that ends a text, or a stop string, be it with its last token, or all that
            its constraint allows.
        problem: Why its constraint lets it not go on; None where it does.
        said: Characters of its text that were given out.
    """

    def __init__(
        self,
        question: Question,
        report: MergeReport,
        timings: dict[str, float],
        ends: frozenset[int],
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        row = question.row
        self.question = question
        self.report = report
        self.tokens: list[int] = []
        self.logprobs: list[Logprobs] = []
        grammar = question.grammar
        self._constrained = Constrained(grammar.deep_copy(), ends) if grammar is not None else None
        self.text = WrittenText(decode, row.stop, margin_of(row))
        self.sampler = Sampler.of(row, question.ids, ends, self._constrained)
        self.finite = True
        self.ended = False
        self.said = question.said
        self._ends = ends
        self._left = row.max_new_tokens
        self._timings = timings
        self._started = time.perf_counter()
        self._unsaid: list[str] = []
        self._skip = question.said

    def take(self, picked: Picked) -> bool:
        """Takes a token; True if the row goes on."""
        if not picked.finite:
            self.finite = False
            return False
        self.tokens.append(picked.token)
        if picked.logprobs is not None:
            self.logprobs.append(picked.logprobs)
        self.sampler.take(picked.token)
        self._left -= 1
        whole = self._constrained is not None and self._constrained.ended
        last = picked.token in self._ends or not self._left or whole
        self._unsaid.append(self.text.add(picked.token))
        if last:
            self._unsaid.append(self.text.rest())
        self.ended = picked.token in self._ends or self.text.stopped or whole
        return not last and not self.ended and self.problem is None

    @property
    def problem(self) -> str | None:
        return self._constrained.problem if self._constrained is not None else None

    def piece(self) -> str:
        """What may be given out since the last call. A row that began again does not say twice what it said."""
        piece = "".join(self._unsaid)
        self._unsaid = []
        repeated = min(self._skip, len(piece))
        self._skip -= repeated
        self.said += len(piece) - repeated
        return piece[repeated:]

    def begun_again(self) -> Question:
        """The row as it begins again, should it have to."""
        return replace(self.question, said=self.said)

    def timings(self) -> dict[str, float]:
        """Milliseconds by stage, until now."""
        return {**self._timings, "decode": 1000 * (time.perf_counter() - self._started)}
