"""From tokens to text, one token at a time: what no further token changes any more."""

from collections.abc import Callable, Sequence

UNKNOWN = "\ufffd"
"""What bytes decode to that are no UTF-8, or not yet."""
OPEN = 3
"""Such signs at the end that may yet become a character: it has four bytes at most."""
LONG = 24
SHORT = 6
"""Tokens that are decoded together before they are cut, and how many stay at least, so that the next has company."""


class TokenDecoder:
    """Decodes what one row writes.

    The pieces joined are what `decode` gives for all tokens at once. Two things are kept where it would take them
    back: a whole character before bytes that are no UTF-8, and a space that a tokenizer cleans up later. The time is
    linear in the tokens.

    Args:
        decode: From tokens to text as it stands, white space included and special tokens left out.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        # The tokens decoded last, their text, and how much of that was given out.
        self._tokens: list[int] = []
        self._text = ""
        self._given = 0
        self._limit = LONG

    def add(self, token: int) -> str:
        """The text that is certain with this token and was not before."""
        tokens = [*self._tokens, token]
        text = self._decode(tokens)
        if text == self._text and not self._decode([token, token]):
            return ""  # A special token is not kept: however many come, the next has company.
        before = ""
        if not text.startswith(self._text[: self._given]):
            before = self.rest()
            tokens = [token]
            text = self._decode(tokens)
        self._tokens, self._text = tokens, text
        certain = len(text) - min(OPEN, len(text) - len(text.rstrip(UNKNOWN)))
        piece = text[self._given : certain]
        self._given = max(self._given, certain)
        if len(tokens) >= self._limit:
            self._cut()
        return before + piece

    def rest(self) -> str:
        """What is left at the end; afterwards another text begins."""
        piece = self._text[self._given :]
        self._tokens, self._text, self._given = [], "", 0
        return piece

    def _cut(self) -> None:
        """Lets the first tokens go, where the others decode to the end of the text by themselves."""
        for start in range(len(self._tokens) - SHORT, max(0, len(self._tokens) - 2 * SHORT), -1):
            end = self._decode(self._tokens[start:])
            gone = len(self._text) - len(end)
            if end and self._text.endswith(end) and gone <= self._given:
                self._tokens = self._tokens[start:]
                self._text = end
                self._given -= gone
                self._limit = LONG
                return
        self._limit *= 2
