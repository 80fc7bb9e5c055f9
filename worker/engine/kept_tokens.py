"""Tokens of choices that were asked for lately, so that what is asked again is not read again."""

import sys
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Final

KEPT_BYTES: Final = 20_000_000
ENTRY_BYTES: Final = 400
"""What one takes beside its text and its tokens."""
TOKEN_BYTES: Final = 36
"""A number, and where it is."""


class KeptTokens:
    """Texts with their tokens, for any thread; where they take too much, what was not asked for longest goes first.

    Args:
        most_tokens: A text of more is not kept: a choice of so many is refused.
        most_bytes: What all may take.
    """

    def __init__(self, most_tokens: int, most_bytes: int = KEPT_BYTES) -> None:
        self._most_tokens = most_tokens
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, Hashable], tuple[int, ...]] = OrderedDict()
        self._lock = Lock()
        self.bytes = 0

    def get(self, text: str, how: Hashable) -> tuple[int, ...] | None:
        """The tokens of a text that was read in this way, if they are kept."""
        with self._lock:
            found = self._kept.get((text, how))
            if found is not None:
                self._kept.move_to_end((text, how))
            return found

    def put(self, text: str, how: Hashable, tokens: tuple[int, ...]) -> None:
        needed = _bytes(text, tokens)
        if len(tokens) > self._most_tokens or needed > self._most_bytes:
            return
        with self._lock:
            if (text, how) in self._kept:
                return
            self._kept[text, how] = tokens
            self.bytes += needed
            while self.bytes > self._most_bytes:
                (gone, _), its = self._kept.popitem(last=False)
                self.bytes -= _bytes(gone, its)


def _bytes(text: str, tokens: tuple[int, ...]) -> int:
    return ENTRY_BYTES + sys.getsizeof(text) + TOKEN_BYTES * len(tokens)
