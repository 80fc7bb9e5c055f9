"""What a base model reads before it answers: a template's own text, and users' texts in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PLACE = "{prompt}"


class AsIs(str):
    """A choice that follows its prompt as it is, without a space between them."""

    __slots__ = ()


@dataclass(frozen=True)
class Framed:
    """One question as the model reads it.

    Attributes:
        parts: By turns a text of the template, in which special tokens are tokens, and a text of a user, in which they
            are text; the first and the last are the template's.
        begun: Whether a text begins as the template says; otherwise the tokenizer puts the token that begins one there,
            unless the template has it.
        spaced: Whether one space stands between this and its answer.
        told: Of a conversation its parts, as evidence keeps them; None: it is a prompt in a frame.
    """

    parts: tuple[str, ...]
    begun: bool = False
    spaced: bool = True
    told: Sequence[str | Mapping[str, int]] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, frame: str, prompt: str) -> "Framed":
        """A prompt in its frame. After white space, or `>`, with which marks of turns end, no space follows."""
        own = frame.split(PLACE)
        parts = [own[0]]
        for piece in own[1:]:
            parts += [prompt, piece]
        return cls(tuple(parts), spaced=not (own[-1].endswith(">") or own[-1][-1:].isspace()))

    @classmethod
    def conversation(
        cls, told: Sequence[str | Mapping[str, int]], contents: Sequence[str], *, spaced: bool
    ) -> "Framed":
        """Messages as a chat template lays them out.

        Args:
            told: Texts of the template, and in the place of a message its number, from 0, with how many characters
                are left out at its `left` and `right`.
            contents: The messages' texts.
            spaced: Whether the template puts a space before what the model says.
        """
        parts = [""]
        for one in told:
            if isinstance(one, str):
                parts[-1] += one
            else:
                text = contents[one["message"]]
                parts += [text[one.get("left", 0) : len(text) - one.get("right", 0)], ""]
        return cls(tuple(parts), begun=True, spaced=spaced, told=tuple(told))

    @property
    def evidence(self) -> dict[str, object]:
        """How the messages were laid out, for the answer; nothing for a prompt, whose frame says it."""
        if self.told is None:
            return {}
        return {"framed": {"parts": list(self.told), "spaced": self.spaced}}

    def choice(self, text: str) -> str:
        """An answer as it stands after this."""
        return text if self.spaced else AsIs(text)

    def __str__(self) -> str:
        return "".join(self.parts)

    def __len__(self) -> int:
        """In characters."""
        return sum(map(len, self.parts))
