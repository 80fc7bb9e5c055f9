"""The files of a base model or an encoder: which model it is, is what lies there, read when it is asked."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from loradex.errors import LibraryCorruptError, ModelRefusedError
from loradex.library.model_json import read_object

SOURCE: Final = "source.json"
"""Written beside a model that was converted: what it was made from, and what came out."""
PAGES: Final = ".md"

Loaded = TypeVar("Loaded")
Looks = tuple[tuple[Path, int, int, int], ...]
"""Of every file: path, inode, bytes and the nanosecond of its last change; other looks are other files."""


@dataclass(frozen=True)
class ModelFiles:
    """What a directory was when it was read.

    Attributes:
        revision: What the model is known by: the digest, or the hash of what it was converted from while the
            digest is the one that the conversion wrote down.
        digest: SHA-256 over all its files.
        looks: Of its files when they were hashed.
    """

    revision: str
    digest: str
    looks: Looks = field(default=(), compare=False, repr=False)


def files_of(directory: Path) -> ModelFiles:
    """What lies there now; every file is hashed.

    Raises:
        LibraryCorruptError: It is not a directory with files.
    """
    looks = _looks(directory)
    digest = _digest(directory)
    return ModelFiles(_converted_from(directory, digest) or digest, digest, looks)


def read_whole(
    directory: Path, load: Callable[[Path], Loaded], known: ModelFiles | None = None
) -> tuple[Loaded, ModelFiles]:
    """What `load` makes of a directory, and what the directory was meanwhile.

    Args:
        directory: Of the model.
        load: Makes something of it.
        known: What it was when this process hashed it before; it is hashed again only if its looks changed.

    Raises:
        LibraryCorruptError: A file was changed while it was read.
    """
    before = _looks(directory)
    loaded = load(directory)
    files = known if known is not None and known.looks == before else files_of(directory)
    if _looks(directory) != before:
        raise LibraryCorruptError(f"{directory}: a file was changed while the model was loaded; try again")
    return loaded, files


def note_conversion(directory: Path, source: Path) -> None:
    """Write down what a directory was converted from and what came out."""
    with source.open("rb") as file:
        revision = hashlib.file_digest(file, "sha256").hexdigest()
    told = {"source": source.name, "revision": revision, "digest": _digest(directory)}
    (directory / SOURCE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def is_conversion(directory: Path) -> bool:
    """Whether a conversion was finished there; one that did not write down what came out is made anew."""
    return "digest" in _told(directory)


def _digest(directory: Path) -> str:
    """Of a line a file, in the order of their paths: hash, two spaces, path; as `sha256sum` prints them."""
    text = hashlib.sha256()
    found = False
    for path in _paths(directory):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        text.update(f"{content}  ./".encode() + os.fsencode(path.relative_to(directory)) + b"\n")
        found = True
    if not found:
        raise LibraryCorruptError(f"{directory}: there is no model; name the directory that holds its files")
    return text.hexdigest()


def _paths(directory: Path) -> Iterator[Path]:
    """All files but hidden ones, caches of Python and pages for people, which no loader reads."""
    for path in sorted(directory.rglob("*"), key=lambda one: os.fsencode(one.relative_to(directory))):
        parts = path.relative_to(directory).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if not hidden and path.suffix != PAGES and parts != (SOURCE,) and path.is_file():
            yield path


def _looks(directory: Path) -> Looks:
    found = [(path, path.stat()) for path in _paths(directory)]
    return tuple((path, look.st_ino, look.st_size, look.st_ctime_ns) for path, look in found)


def _converted_from(directory: Path, digest: str) -> str | None:
    told = _told(directory)
    return told.get("revision") if told.get("digest") == digest else None


def _told(directory: Path) -> dict[str, str]:
    try:
        told = read_object(directory / SOURCE)
    except ModelRefusedError:
        return {}
    return told if all(isinstance(value, str) for value in told.values()) else {}
