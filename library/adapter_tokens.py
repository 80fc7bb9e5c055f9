"""Tokens that an adapter's config names: words whose vectors were trained, and those that switch an adapter on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from loradex.errors import AdapterRefusedError

MAX_TOKEN = 1 << 31
MAX_INVOCATION = 256


@dataclass(frozen=True)
class TrainedWords:
    """`trainable_token_indices`: the words whose vectors were trained, of the embedding or by names of modules."""

    of_embedding: tuple[int, ...] = ()
    by_name: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object, most: int) -> "TrainedWords":
        """What the key holds; each module may have so many words at `most`.

        Raises:
            AdapterRefusedError: It names no words, or too many.
        """
        if not value:
            return cls()
        if isinstance(value, dict):
            return cls(by_name={str(name): _words(some, most) for name, some in value.items()})
        return cls(_words(value, most))

    def __bool__(self) -> bool:
        return bool(self.of_embedding or self.by_name)

    def of_module(self, module: str) -> tuple[int, ...]:
        """The words of a module, by the end of its name."""
        named = (some for name, some in self.by_name.items() if f".{module}".endswith(f".{name}"))
        return next(named, self.of_embedding)


def _words(value: object, most: int) -> tuple[int, ...]:
    found = tokens("trainable_token_indices", value, most)
    if len(set(found)) < len(found):
        raise AdapterRefusedError(
            "adapter_config.json: trainable_token_indices names a token twice, which has two vectors then; train it "
            "with each once"
        )
    return found


def tokens(key: str, value: object, most: int) -> tuple[int, ...]:
    """A list of 1 to `most` numbers of tokens.

    Raises:
        AdapterRefusedError: It is none.
    """
    if (
        not isinstance(value, list)
        or not 1 <= len(value) <= most
        or not all(type(token) is int and 0 <= token < MAX_TOKEN for token in value)
    ):
        raise AdapterRefusedError(
            f"adapter_config.json: {key} must be a list of 1 to {most} numbers of tokens; train it with such a list"
        )
    return tuple(value)
