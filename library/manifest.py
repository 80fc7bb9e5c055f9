"""`manifest.json`: what a library is made of, and the SHA-256 of every file in it."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from loradex.errors import AdapterRefusedError, LibraryCorruptError
from loradex.library.adapter_files import read_regular
from loradex.library.cards import TaskCard
from loradex.library.model_json import storable

MANIFEST = "manifest.json"
CHECKPOINTS = "adapters/checkpoints/"
"""What `loradex train --out LIBRARY/adapters` leaves beside the adapters; it is not part of the library."""
EXAMPLES = "examples.parquet"
MAX_FILE_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 4 << 20
MAX_CONTEXT = (1 << 31) - 1
"""Tokens; an integer of Postgres."""


def _inside(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path or parts.as_posix() != path:
        raise ValueError(f"{path!r} is not a plain path inside the library")
    return path


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RelativePath = Annotated[str, AfterValidator(_inside)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseModelEntry(_Entry):
    """The model the adapters were trained for; `frame` is the template around every prompt."""

    name: str
    revision: str
    context_length: Annotated[int, Field(ge=1, le=MAX_CONTEXT)]
    frame: str


class EncoderEntry(_Entry):
    name: str
    revision: str
    dimensions: Annotated[int, Field(ge=1, le=16_000)]


class FileEntry(_Entry):
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]


class AdapterEntry(_Entry):
    """`sha256` is the content hash of the two files in `directory`."""

    name: str
    directory: RelativePath
    sha256: Sha256


class Manifest(_Entry):
    """A library.

    Attributes:
        tasks: Task → hash of what its card says about texts; another card would render other prompts.
        adapters: Task → its adapter.
        examples: Task → rows in `examples.parquet`.
        files: Every file of the library but the manifest itself.
    """

    format: Literal[1]
    base_model: BaseModelEntry
    encoder: EncoderEntry
    tasks: dict[str, Sha256]
    adapters: dict[str, AdapterEntry]
    examples: dict[str, int]
    files: dict[RelativePath, FileEntry]

    @property
    def total_bytes(self) -> int:
        return sum(entry.bytes for entry in self.files.values())


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a library; `LibraryCorruptError` if it is missing or malformed."""
    path = directory / MANIFEST
    try:
        manifest = Manifest.model_validate_json(read_regular(path, MAX_MANIFEST_BYTES))
        storable(manifest.model_dump())
    except AdapterRefusedError as error:
        raise LibraryCorruptError(f"{error}; a library is a directory with a {MANIFEST}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LibraryCorruptError(f"{path}: {where}: {first['msg']}") from None
    except ValueError as error:
        raise LibraryCorruptError(f"{path}: {error}") from None
    for task in manifest.adapters.keys() | manifest.examples.keys():
        if task not in manifest.tasks:
            raise LibraryCorruptError(f"{path}: task {task!r} has no card hash")
    return manifest


def write_manifest(directory: Path, manifest: Manifest) -> None:
    text = json.dumps(manifest.model_dump(), indent=1, sort_keys=True, ensure_ascii=False)
    write_whole(directory / MANIFEST, text + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write beside a file, wait for the disk, and take the file's name."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def list_files(directory: Path) -> dict[str, FileEntry]:
    """Size and hash of every file of a library but its manifest and checkpoints of training, by path."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            raise LibraryCorruptError(f"{path}: a symbolic link has no place in a library")
        if path.is_file() and name != MANIFEST and not name.startswith(CHECKPOINTS):
            with path.open("rb") as stream:
                found[name] = FileEntry(
                    sha256=hashlib.file_digest(stream, "sha256").hexdigest(), bytes=stream.tell()
                )
    return found


def entry_of(content: bytes) -> FileEntry:
    return FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Compare every file with the manifest; `LibraryCorruptError` names the first that differs."""
    for name in manifest.files:
        read_verified(directory, manifest, name)
    unlisted = sorted(list_files(directory).keys() - manifest.files.keys())
    if unlisted:
        raise LibraryCorruptError(
            f"{directory / unlisted[0]}: not in the manifest; remove it or build it anew"
        )


def read_verified(directory: Path, manifest: Manifest, name: str) -> bytes:
    """A file's bytes, which are what the manifest says; `LibraryCorruptError` otherwise."""
    path = directory / name
    entry = manifest.files.get(name)
    if entry is None:
        raise LibraryCorruptError(f"{path}: not in the manifest")
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except AdapterRefusedError as error:
        raise LibraryCorruptError(f"{error}; get the library again") from None
    if len(content) != entry.bytes:
        raise LibraryCorruptError(
            f"{path}: {len(content)} bytes, the manifest says {entry.bytes}; get it again"
        )
    if entry_of(content) != entry:
        raise LibraryCorruptError(f"{path}: its SHA-256 is not the manifest's; get it again")
    return content


def card_hash(card: TaskCard) -> str:
    """Hex SHA-256 over what decides an example's texts: prompt template, shown values and answer words."""
    said = card.model_dump(include={"name", "family", "metric", "prompt", "values", "choices"})
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def check_cards(directory: Path, manifest: Manifest, cards: Mapping[str, TaskCard]) -> None:
    """`LibraryCorruptError` unless every task of the library has the card it was built with."""
    for task, expected in manifest.tasks.items():
        if task not in cards:
            raise LibraryCorruptError(f"{directory}: its task {task!r} has no task card here")
        if card_hash(cards[task]) != expected:
            raise LibraryCorruptError(
                f"{directory}: the card of task {task!r} asks otherwise than when this library was built; "
                "take the card of the library's version or build the library anew"
            )
