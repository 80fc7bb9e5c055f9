"""From a text to the tokens an encoder reads of it, and where one that is too long is cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loradex.errors import ModelRefusedError

Cut = Literal["head", "tail", "head and tail"]
"""Which tokens are kept of a text that is too long."""
HEAD = 4
"""Of `head and tail`: one token in so many from the start, the others from the end (Sun et al. 2019, arXiv
1905.05583, kept 128 and 382 of 510)."""
PROBE = "a"


@dataclass(frozen=True)
class Tokens:
    """A text as the encoder reads it.

    Attributes:
        ids: What is read, with the tokens that every text begins and ends with.
        total: Tokens of the whole text, without those.
        read: Tokens of the text that are read.
    """

    ids: tuple[int, ...]
    total: int
    read: int


class TokenReader:
    """A tokenizer of Hugging Face, and how many tokens a text may have.

    Args:
        tokenizer: The encoder's own.
        limit: Tokens of a text, with those that every text begins and ends with.
        lower_case: Whether texts are read in lower case.
    """

    def __init__(self, tokenizer: Any, limit: int, *, lower_case: bool) -> None:
        self._tokenizer = tokenizer
        self._lower_case = lower_case
        self.start, self._end = _ends(tokenizer)
        self._room = limit - len(self.start) - len(self._end)
        if self._room < 1:
            raise ModelRefusedError(f"the encoder reads {limit} tokens, which leaves no room for a text")
        self.shortening: Cut = "tail" if tokenizer.truncation_side == "left" else "head"

    def read(self, texts: Sequence[str], prompt: str, cut: Cut) -> list[Tokens]:
        """Each text behind the prompt, which is never cut itself."""
        kept = min(len(self._plain([prompt])[0]), self._room - 1) if prompt else 0
        read = []
        for ids in self._plain([prompt + text for text in texts]):
            chosen = [*ids[:kept], *shortened(ids[kept:], self._room - kept, cut)]
            read.append(Tokens((*self.start, *chosen, *self._end), len(ids), len(chosen)))
        return read

    def skipped(self, prompt: str) -> int:
        """Tokens before a text's own: the usual start, and the prompt."""
        return len(self.start) + len(self._plain([prompt])[0]) if prompt else 0

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        from tokenizers.normalizers import Lowercase  # noqa: PLC0415 - comes with transformers, whose import is slow

        shown = [Lowercase().normalize_str(text) for text in texts] if self._lower_case else list(texts)
        ids: list[list[int]] = self._tokenizer(shown, add_special_tokens=False, verbose=False)["input_ids"]
        return ids


def shortened(ids: list[int], room: int, cut: Cut) -> list[int]:
    """At most `room` of the tokens; of a question the start and, since what is asked is usually last, the end."""
    if len(ids) <= room:
        return ids
    match cut:
        case "head":
            return ids[:room]
        case "tail":
            return ids[-room:]
        case "head and tail":
            head = room // HEAD
            return ids[:head] + ids[len(ids) - (room - head) :]


def _ends(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and after every text."""
    told = tokenizer(PROBE)
    if any(told.get("token_type_ids", ())):
        raise ModelRefusedError("the encoder's tokenizer numbers the parts of a text, which is not followed")
    whole = list(told["input_ids"])
    inner = list(tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    for place in range(len(whole) - len(inner) + 1):
        if whole[place : place + len(inner)] == inner:
            return tuple(whole[:place]), tuple(whole[place + len(inner) :])
    raise ModelRefusedError("the encoder's tokenizer does not put fixed tokens around a text")
