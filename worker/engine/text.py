"""Text to tokens and back; training and answering both come here, so they read the same tokens."""

from collections.abc import Sequence
from typing import Any

from loradex.worker.engine.framed import AsIs, Framed
from loradex.worker.engine.kept_tokens import KeptTokens
from loradex.worker.engine.margin import own_text
from loradex.worker.engine.marks import Marks

ANCHOR = ":"

MOST_CHOICE_TOKENS = 512
"""Tokens a choice may have: what is read of one is read at once."""


class Text:
    """A base model's tokenizer, used in one way only.

    Args:
        tokenizer: The model's own Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._marks = Marks(tokenizer)
        self._start: list[int] | None = None
        self._anchor: tuple[list[int], str] | None = None
        self._answers = KeptTokens(MOST_CHOICE_TOKENS)

    def prompt(self, framed: Framed | str) -> list[int]:
        """Tokens of a framed prompt, with what the tokenizer puts at the start of a text, once.

        Special tokens are read as such where the template has them. A plain `str` is all template.

        Raises:
            InvalidArgumentError: A user's part holds what this tokenizer can only read as a special token.
        """
        if isinstance(framed, str):
            framed = Framed((framed,))
        ids = self._marks.read(framed.parts)
        if framed.begun:
            return ids
        start = self._beginning()
        # A frame may have it too; a user's part has no token that begins a text.
        return ids if framed.parts[0] and ids[: len(start)] == start else start + ids

    def count(self, text: str) -> int:
        """Tokens of a user's text as a prompt without a frame."""
        return len(self.prompt(Framed(("", text, ""))))

    def answer(self, text: str) -> tuple[int, ...]:
        """Tokens of an answer as it stands after a prompt, in which no token is special.

        One space is put before it, unless it is `AsIs` or begins with white space of its own, as indented code does.
        It is tokenized in the company of a sign before it, since some tokenizers put a space of their own before a
        text.

        Raises:
            InvalidArgumentError: It holds what this tokenizer can only read as a special token.
        """
        spaced = not isinstance(text, AsIs) and not text[:1].isspace()
        ids = self._answers.get(text, spaced)
        if ids is None:
            ids = self._after(f" {text}", ANCHOR) if spaced else self._as_is(text)
            self._answers.put(text, spaced, ids)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated tokens as an answer has it: `raw`, but for the margin around it."""
        return own_text(self.raw(ids))

    def raw(self, ids: Sequence[int]) -> str:
        """The text of tokens as it stands after something else, without special tokens."""
        if self._anchor is None:
            self._anchor = self._plain(ANCHOR), self._decoded(self._plain(ANCHOR))
        tokens, sign = self._anchor
        both = self._decoded([*tokens, *ids])
        # Some decoders take a space for their own where a text begins with it.
        return both[len(sign) :] if both.startswith(sign) else self._decoded(ids)

    def _as_is(self, text: str) -> tuple[int, ...]:
        """A sign that merges with the answer is not what stands before it."""
        return self._after(text, "\n", ANCHOR)

    def _after(self, text: str, *anchors: str) -> tuple[int, ...]:
        for anchor in anchors:
            alone, both = self._plain(anchor), self._marks.read(("", anchor + text, ""))
            if len(both) > len(alone) and both[: len(alone)] == alone:
                return tuple(both[len(alone) :])
        return tuple(self._marks.read(("", text, "")))

    def _beginning(self) -> list[int]:
        """What the tokenizer puts before a text; what it puts behind one is no part of a prompt."""
        if self._start is None:
            alone = self._plain(ANCHOR)
            whole: list[int] = self._tokenizer.encode(ANCHOR)
            before = (place for place in range(len(whole)) if whole[place : place + len(alone)] == alone)
            self._start = whole[: next(before, 0)]
        return self._start

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def token(self, token: int) -> str:
        """The text of one token in the midst of others, its space included; none for special tokens."""
        return self.raw([token, token])[len(self.raw([token])) :]

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
