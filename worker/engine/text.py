"""Text to tokens and back; training and answering both come here, so they read the same tokens."""

from collections.abc import Sequence
from typing import Any

ANCHOR = ":"


class Text:
    """A base model's tokenizer, used in one way only.

    Args:
        tokenizer: The model's own Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._answers: dict[str, tuple[int, ...]] = {}

    def prompt(self, framed: str) -> list[int]:
        """Tokens of a framed prompt, with what the tokenizer puts at the start of a text."""
        ids: list[int] = self._tokenizer.encode(framed)
        ends = {self._tokenizer.eos_token_id} - {self._tokenizer.bos_token_id, None}
        return ids[:-1] if len(ids) > 1 and ids[-1] in ends else ids

    def answer(self, text: str) -> tuple[int, ...]:
        """Tokens of an answer as it stands after a prompt: one space before it, no special tokens.

        It is tokenized in the company of a colon, since some tokenizers put a space of their own before a
        text.
        """
        if text not in self._answers:
            alone = self._plain(ANCHOR)
            both = self._plain(f"{ANCHOR} {text}")
            starts_alike = len(both) > len(alone) and both[: len(alone)] == alone
            if len(self._answers) >= 10_000:  # noqa: PLR2004 - options of many examples must not fill the memory
                self._answers.clear()
            self._answers[text] = tuple(both[len(alone) :] if starts_alike else self._plain(f" {text}"))
        return self._answers[text]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated tokens, without special tokens and surrounding space."""
        return self.raw(ids).strip()

    def raw(self, ids: Sequence[int]) -> str:
        """The text of tokens as it stands, without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
