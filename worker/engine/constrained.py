"""A text that is held to a constraint, while it is written: which tokens may come next, and whether it is whole."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

if TYPE_CHECKING:
    from llguidance import LLMatcher


class Constrained:
    """What one row wrote so far, as its constraint sees it.

    Args:
        matcher: Of this row alone, at the beginning of a text.
        ends: Tokens that end a text.

    Attributes:
        allowed: A bit for each token that may come next, in the order of tokens, lowest first `[bytes]`.
        ended: The text is whole, and nothing may follow.
        problem: Why it cannot go on; None: it can, or has ended.
    """

    def __init__(self, matcher: "LLMatcher", ends: frozenset[int]) -> None:
        self._matcher = matcher
        self._ends = sorted(ends)
        self.allowed = torch.zeros(0, dtype=torch.uint8)
        self.ended = False
        self.problem: str | None = None
        self._look()

    def take(self, token: int) -> None:
        """Goes on by a token that was written."""
        if token not in self._ends:
            self._matcher.consume_token(token)
            self._look()

    def _look(self) -> None:
        whole = self._matcher.is_accepting()
        if self._matcher.is_stopped() and not self._matcher.is_error():
            self.ended = whole
        else:
            bits = bytearray(self._matcher.compute_bitmask())
            goes_on = self._with_ends(bits, allowed=False)
            self.ended = whole and not goes_on and not self._matcher.is_error()
            if whole and goes_on:
                self._with_ends(bits, allowed=True)
            self.allowed = torch.frombuffer(bits, dtype=torch.uint8)
            if goes_on:
                return
        if not self.ended:
            self.problem = self._matcher.get_error() or "no text goes on from here"

    def _with_ends(self, bits: bytearray, *, allowed: bool) -> bool:
        """Allows or forbids the tokens that end a text; whether any token is allowed then."""
        for end in self._ends:
            if end // 8 < len(bits):
                if allowed:
                    bits[end // 8] |= 1 << end % 8
                else:
                    bits[end // 8] &= ~(1 << end % 8)
        return any(bits)


def hold(logits: Tensor, rows: dict[int, Constrained]) -> None:
    """Forbids, in the rows of logits `[rows, vocabulary]` at these places, what their constraints do not allow."""
    device, vocabulary = logits.device, logits.shape[1]
    bits = torch.stack([one.allowed for one in rows.values()]).to(device)
    allowed = (bits[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=device)) & 1
    allowed = allowed.flatten(1)[:, :vocabulary].bool()
    allowed = pad(allowed, (0, vocabulary - allowed.shape[1]), value=False)
    places = torch.tensor(list(rows), device=device)
    logits[places] = logits[places].masked_fill_(~allowed, -torch.inf)
