"""Texts that are held to a schema or a pattern: vLLM's structured outputs, whose grammars are ours.

So a constraint means what it means to our own engine, whichever grammars vLLM was built with: white space, the margin
before a text, its end, and what is refused.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from loradex.worker.engine.constrained import Constrained

if TYPE_CHECKING:
    from llguidance import LLMatcher

WORD_BYTES = 4
"""vLLM's masks have a bit for each token in words of int32."""


class HeldText:
    """What one request may write, as vLLM asks for it.

    Args:
        matcher: At the beginning of a text, to copy.
        ends: Tokens that end a text.
    """

    def __init__(self, matcher: "LLMatcher", ends: frozenset[int]) -> None:
        self._matcher = matcher
        self._ends = ends
        self._tokens: list[int] = []
        self._now = self._after([])

    def accept_tokens(self, _name: str, tokens: Sequence[int]) -> bool:
        """Goes on by what was written. What is wrong with it is told where the text is made of it."""
        for token in tokens:
            self._take(token)
        return True

    def validate_tokens(self, tokens: Sequence[int]) -> list[int]:
        """The first of these guesses that may be written one after the other."""
        then = self._after(self._tokens)
        for place, token in enumerate(tokens):
            if _over(then) or not _allows(then, token):
                return list(tokens[:place])
            then.take(token)
        return list(tokens)

    def rollback(self, count: int) -> None:
        """Forgets the last tokens, which were guesses."""
        self._tokens = self._tokens[: max(0, len(self._tokens) - count)]
        self._now = self._after(self._tokens)

    def fill_bitmask(self, mask: Tensor, row: int) -> None:
        """Writes which tokens may come next into a row of the mask `[rows, words]`."""
        allowed = self._now.allowed
        bits = mask[row].view(torch.uint8)
        bits.zero_()
        wide = min(len(allowed), len(bits))
        bits[:wide] = allowed[:wide]

    def is_terminated(self) -> bool:
        """Whether it is over, and nothing is to be masked: the row is about to be ended."""
        return _over(self._now)

    def reset(self) -> None:
        """Begins again."""
        self.rollback(len(self._tokens))

    def _take(self, token: int) -> None:
        self._tokens.append(token)
        if not _over(self._now):
            self._now.take(token)

    def _after(self, tokens: Sequence[int]) -> Constrained:
        made = Constrained(self._matcher.deep_copy(), self._ends)
        for token in tokens:
            if not _over(made):
                made.take(token)
        return made


class HeldTexts:
    """In the place of a backend of vLLM's structured outputs: gives each request the grammar of its row.

    Args:
        ends: Tokens that end a text.
        vocabulary: Tokens of the model.
    """

    def __init__(self, ends: frozenset[int], vocabulary: int) -> None:
        self._ends = ends
        self._words = -(-vocabulary // (8 * WORD_BYTES))
        self._coming: dict[str, LLMatcher] = {}

    def put(self, name: str, matcher: "LLMatcher") -> None:
        """What the request of that name, which is about to be added, is held to."""
        self._coming[name] = matcher

    def forget(self, name: str) -> None:
        """The request was not added after all."""
        self._coming.pop(name, None)

    def compile_grammar(self, _kind: object, name: str, **_: object) -> HeldText:
        """The grammar of a request, which has its own name where others have a grammar's text."""
        return HeldText(self._coming.pop(name), self._ends)

    def allocate_token_bitmask(self, rows: int) -> Tensor:
        """A mask `[rows, words]` that allows all."""
        return torch.full((rows, self._words), -1, dtype=torch.int32)

    def destroy(self) -> None:
        """Nothing is held that needs an end."""


def hold_texts(llm: Any, texts: HeldTexts) -> None:
    """Lets vLLM's structured outputs ask `texts`; what may be asked for was checked before, by our own door."""
    manager = llm.engine_core.engine_core.structured_output_manager
    manager.backend = texts
    # They are ready, and no tokenizer of its own is there that a pool of threads would be started for.
    manager._use_async_grammar_compilation = False  # noqa: SLF001 - no door for grammars of others
    # Its own check of requests wants a tokenizer.
    llm.input_processor.structured_outputs_config = None


def _over(text: Constrained) -> bool:
    return text.ended or text.problem is not None


def _allows(text: Constrained, token: int) -> bool:
    byte = token // 8
    return byte < len(text.allowed) and bool(int(text.allowed[byte]) >> token % 8 & 1)
