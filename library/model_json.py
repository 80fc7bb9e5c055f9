"""The JSON files of a model's directory, such as `config.json`: bounded, and told apart from what is none."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from loradex.errors import ModelRefusedError

MAX_BYTES: Final = 16 << 20
"""Of one file; the largest of common models, which list every token they added, have two or three megabytes."""


def read_json(path: Path) -> Any:
    """What the file says; links are followed, since the hub's cache is made of them.

    Raises:
        ModelRefusedError: It is missing, no regular file, too large, not UTF-8, not JSON, or has a key twice.
    """
    if not path.exists():
        raise ModelRefusedError(f"{path}: no such file; name the directory of a model in Hugging Face form")
    if not path.is_file():  # a pipe would be waited for
        raise ModelRefusedError(f"{path}: not a regular file")
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelRefusedError(f"{path}: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise ModelRefusedError(f"{path}: more than {MAX_BYTES} bytes; a model's settings are no larger")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=unique_keys)
    except UnicodeDecodeError:
        raise ModelRefusedError(f"{path}: not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ModelRefusedError(f"{path}: not JSON: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """As `read_json`; also refused if the file says anything but an object."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise ModelRefusedError(f"{path}: not a JSON object")
    return document


def unique_keys(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    """An object_pairs_hook that refuses a key given twice: two readers would take different ones."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"the key {next(_twice(pairs))!r} stands twice")
    return fields


def no_constant(name: str) -> None:
    """A parse_constant that refuses NaN and infinity, which JSON has not and some models' settings have."""
    raise ValueError(f"{name} is not JSON")


def finite(text: str) -> float:
    """A parse_float that refuses a number beyond all that can be stored, such as 1e999."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is beyond all that can be stored")
    return value


def storable(document: Any) -> Any:
    """The document, if Postgres takes its texts.

    Raises:
        ValueError: One has the character NUL, or half a surrogate pair.
    """
    parts = [document]
    while parts:
        match parts.pop():
            case str(text) if "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
                raise ValueError(
                    f"{text[:40]!r} has the character NUL or half a surrogate pair, which Postgres does not store"
                )
            case dict() as named:
                parts += [*named.keys(), *named.values()]
            case list() as some:
                parts += some
    return document


def _twice(pairs: list[tuple[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            yield key
        seen.add(key)
