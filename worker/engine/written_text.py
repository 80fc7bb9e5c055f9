"""The text that a row wrote, as it may be said while it is written, and the stop string that ends it."""

from collections.abc import Callable, Sequence

from loradex.worker.engine.margin import own_start
from loradex.worker.engine.token_decoder import TokenDecoder


class WrittenText:
    """What one row wrote. All that `add` and `rest` gave, joined, is `text`.

    Args:
        decode: From tokens to text as it stands, white space included and special tokens left out.
        stop: Texts that end this one; none is empty. Of several, the one counts that is whole first.
        before: A sign, or none, that stands before the text and is no part of it; all else is. None: `own_text` tells.

    Attributes:
        stopped: A stop string was written; tokens that come after it are not looked at.
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = (), before: str | None = None
    ) -> None:
        self.stopped = False
        self._decoder = TokenDecoder(decode)
        self._stop = tuple(stop)
        self._before = before
        self._said: list[str] = []
        # What may be white space at the end, or the start of a stop string.
        self._held = ""

    @property
    def text(self) -> str:
        """What was said so far; once the text has stopped, or after `rest`, all of it.

        It has no margin (`own_text`, or `before`), and neither a stop string nor what comes after.
        """
        return "".join(self._said)

    def add(self, token: int) -> str:
        """Takes a token; the further piece of text that is certain now, which may be empty."""
        return "" if self.stopped else self._take(self._decoder.add(token))

    def rest(self) -> str:
        """The last piece, once no more tokens come."""
        if self.stopped:
            return ""
        last = self._take(self._decoder.rest())
        return last if self.stopped else last + self._say(self._held)

    def _take(self, fresh: str) -> str:
        if self._before and fresh:
            # No stop string begins in it: of a text that is held to something it is always written.
            fresh, self._before = fresh.removeprefix(self._before), ""
        seen = len(self._held)
        self._held += fresh
        found = [
            (place + len(one), place)
            for one in self._stop
            if (place := self._held.find(one, max(0, seen - len(one) + 1))) >= 0
        ]
        if found:
            self.stopped = True
            return self._say(self._held[: min(found)[1]])
        return self._say(self._held[: self._certain()])

    def _certain(self) -> int:
        """How much of what is held cannot be part of a stop string."""
        longest = max(map(len, self._stop), default=1) - 1
        for place in range(max(0, len(self._held) - longest), len(self._held)):
            if any(one.startswith(self._held[place:]) for one in self._stop):
                return place
        return len(self._held)

    def _say(self, text: str) -> str:
        """Says so much of what is held, but for the margin around all where `own_text` tells it."""
        if self._before is not None:
            said = piece = text
        else:
            said = text.rstrip()
            piece = said if self._said else own_start(said)
        self._held = self._held[len(said) :]
        if piece:
            self._said.append(piece)
        return piece
