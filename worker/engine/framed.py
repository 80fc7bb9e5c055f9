"""What a base model reads before it answers: a template's own text, and users' texts in it."""

from dataclasses import dataclass

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
        begun: Whether the template's own text has the token that begins a text; otherwise the tokenizer puts it there.
        spaced: Whether one space stands between this and its answer.
    """

    parts: tuple[str, ...]
    begun: bool = False
    spaced: bool = True

    @classmethod
    def of(cls, frame: str, prompt: str) -> "Framed":
        """A prompt in its frame. After white space, or `>`, with which marks of turns end, no space follows."""
        own = frame.split(PLACE)
        parts = [own[0]]
        for piece in own[1:]:
            parts += [prompt, piece]
        return cls(tuple(parts), spaced=not (own[-1].endswith(">") or own[-1][-1:].isspace()))

    def choice(self, text: str) -> str:
        """An answer as it stands after this."""
        return text if self.spaced else AsIs(text)

    def __str__(self) -> str:
        return "".join(self.parts)

    def __len__(self) -> int:
        """In characters."""
        return sum(map(len, self.parts))
