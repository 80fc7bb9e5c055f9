"""Constraints made ready for one tokenizer, each once for all rows that have it."""

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from loradex.constraint import Constraint, limits
from loradex.errors import ConstraintRefusedError
from loradex.worker.engine.constrained import Constrained
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.rows import Row

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

PROBE: Final = "is it so"
NOT_FOLLOWED: Final = (
    "this model's tokenizer cannot be followed where a text is held to a schema or a pattern"
)
KEPT: Final = 64
"""Constraints that stay ready."""


class Grammars:
    """What rows are held to. Threads may share it.

    Args:
        tokenizer: The model's own.
        vocabulary: Tokens that the model has.
        ends: Tokens that end a text.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = max(vocabulary, len(tokenizer))
        # An end beyond the vocabulary is never written.
        self._ends = frozenset(token for token in ends if token < self._vocabulary)
        self._tokens: LLTokenizer | None = None
        self._ready: OrderedDict[tuple[Constraint, str], LLMatcher] = OrderedDict()
        self._changed = threading.Lock()
        self._one_reads = threading.Lock()

    def of(self, row: Row) -> "LLMatcher | None":
        """What the row's text is held to: a matcher at the beginning of a text, to copy; None: nothing.

        The first time it is read, which may take a while.

        Raises:
            ConstraintRefusedError: No text can be held to it, or none of this model's.
        """
        before = margin_of(row)
        if before is None:
            return None
        constraint = Constraint(row.json_schema, row.regex)
        if (ready := self._found(constraint, before)) is not None:
            return ready
        with self._one_reads:
            if (ready := self._found(constraint, before)) is None:
                ready = self._read(constraint, before)
                with self._changed:
                    self._ready[constraint, before] = ready
                    if len(self._ready) > KEPT:
                        self._ready.popitem(last=False)
            return ready

    def _found(self, constraint: Constraint, before: str) -> "LLMatcher | None":
        with self._changed:
            if (constraint, before) in self._ready:
                self._ready.move_to_end((constraint, before))
            return self._ready.get((constraint, before))

    def _read(self, constraint: Constraint, before: str) -> "LLMatcher":
        from llguidance import LLMatcher  # noqa: PLC0415 - most workers are never asked for it

        constraint.require_readable()
        matcher = LLMatcher(self._read_tokens(), constraint.grammar(before), limits=limits(), log_level=0)
        if matcher.is_error():
            raise constraint.refused(matcher.get_error())
        if (problem := Constrained(matcher.deep_copy(), self._ends).problem) is not None:
            raise constraint.refused(problem)
        return matcher

    def _read_tokens(self) -> "LLTokenizer":
        if self._tokens is None:
            from llguidance.hf import from_tokenizer  # noqa: PLC0415 - it imports transformers, which is slow

            try:
                tokens = from_tokenizer(
                    self._tokenizer,
                    n_vocab=self._vocabulary,
                    eos_token=sorted(self._ends) or None,
                )
                ids = self._tokenizer(PROBE, add_special_tokens=False)["input_ids"]
                spelled = tokens.decode_bytes(ids).decode().strip()
            except Exception as error:
                raise ConstraintRefusedError(f"{NOT_FOLLOWED}: {error}") from error
            if spelled != PROBE:
                raise ConstraintRefusedError(f"{NOT_FOLLOWED}: it spells {PROBE!r} as {spelled[:50]!r}")
            self._tokens = tokens
        return self._tokens


def margin_of(row: Row) -> str | None:
    """What stands before a constrained row's text and is not of it: a space where one parts it from the prompt.

    None: it is held to nothing, and its margin is told from what it wrote.
    """
    if row.json_schema is None and row.regex is None:
        return None
    spaced = row.prompt_text.spaced if isinstance(row.prompt_text, Framed) else True
    return " " if spaced else ""
