"""The two files of a PEFT adapter: read without following links, hashed, and inspected without torch."""

import hashlib
import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loradex.errors import AdapterChangedError, AdapterRefusedError
from loradex.library import hub_cache
from loradex.library.adapter_config import LoraSettings, parse_config, strict_object
from loradex.library.adapter_factors import (
    DTYPES,
    check_shapes,
    paired,
    rank_of,
    targets_of,
    update_norm,
)
from loradex.library.adapter_others import cure_of, not_read
from loradex.library.adapter_warnings import warnings_of
from loradex.library.base_model_names import is_local, matched
from loradex.library.module_sizes import Size
from loradex.library.safetensors_file import SafetensorsError, read_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "card.json"
# What a clone without Git LFS has in place of a large file.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
MAX_CONFIG_BYTES = 256 << 10
MAX_WEIGHTS_BYTES = 1 << 30


@dataclass(frozen=True)
class AdapterFiles:
    """The bytes of an adapter, read once: what was hashed is what is used."""

    config: bytes = field(repr=False)
    weights: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """The content hash: SHA-256 over a line a file, `name NUL sha256-of-the-bytes newline`."""
        return hash_of_digests(self.digests)

    @property
    def digests(self) -> dict[str, str]:
        """Hex SHA-256 of each file, by name."""
        contents = {CONFIG: self.config, WEIGHTS: self.weights}
        return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


@dataclass(frozen=True)
class AdapterFacts:
    """What registration stores about an adapter.

    `update_norm` is the Frobenius norm of what the factors add, the root of the sum over modules of
    ‖alpha / rank · B A‖²; `update_rms` divides it by the root of the number of weights it touches. What an adapter
    makes of the base model's own weights (DoRA) is not in it: they are not at hand.
    """

    sha256: str
    files: Mapping[str, str]
    base_model: str
    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    dtype: str
    parameters: int
    update_norm: float
    update_rms: float
    bytes: int
    card: Mapping[str, Any]
    warnings: tuple[str, ...]


def hash_of_digests(digests: Mapping[str, str]) -> str:
    """The content hash of files, from the hex SHA-256 of each by name, config first."""
    text = "".join(f"{name}\0{digest}\n" for name, digest in digests.items())
    return hashlib.sha256(text.encode()).hexdigest()


def content_hash(directory: Path) -> str:
    """The content hash of an adapter on disk, hex; `AdapterRefusedError` if it cannot be read safely."""
    return read_files(directory).sha256


def read_files(directory: Path, expected_sha256: str | None = None) -> AdapterFiles:
    """Both files of an adapter; `AdapterChangedError` unless they have the expected content hash."""
    files = AdapterFiles(
        config=read_regular(directory / CONFIG, MAX_CONFIG_BYTES),
        weights=read_regular(directory / WEIGHTS, MAX_WEIGHTS_BYTES),
    )
    if expected_sha256 is not None and files.sha256 != expected_sha256:
        raise AdapterChangedError(
            f"{directory}: its content hash is {files.sha256}, registered is {expected_sha256}; "
            "put the registered files back or register these as a new version"
        )
    return files


def inspect(
    directory: Path,
    base_model: str,
    sizes: Mapping[str, Size] | None = None,
    *,
    aliases: frozenset[str] = frozenset(),
    declared: bool = False,
) -> AdapterFacts:
    """Everything registration must know, or `AdapterRefusedError` with the reason.

    `sizes` are those of the base model's modules, where somebody told them; the factors must fit them. `aliases`
    are its other names. `declared` is that somebody vouches for the base model although the config calls it
    otherwise, or not at all.
    """
    warnings = _beside(directory)
    files = read_files(directory)
    for name, content in ((CONFIG, files.config), (WEIGHTS, files.weights)):
        if content.startswith(LFS_POINTER):
            raise AdapterRefusedError(
                f"{directory / name}: a pointer of Git LFS, not the file; fetch it with `git lfs pull`"
            )
    try:
        settings = parse_config(files.config)
    except AdapterRefusedError as error:
        raise AdapterRefusedError(f"{directory}: {error}") from error
    found = matched(settings.base_model, base_model, aliases)
    if found is not None:
        warnings += [] if found.warning is None else [found.warning]
    else:
        warnings.append(_declared(directory, settings, base_model, sizes, declared=declared))
    try:
        entries = read_header(io.BytesIO(files.weights), len(files.weights))
        contents = paired(entries, settings)
        targets = targets_of(contents.modules, settings)
        check_shapes(contents, settings, sizes)
        norm, touched = update_norm(files.weights, contents, settings)
    except SafetensorsError as error:
        raise AdapterRefusedError(f"{directory / WEIGHTS}: {error}") from error
    rms = norm / max(touched, 1) ** 0.5
    warnings += warnings_of(settings, contents, targets, norm, rms)
    return AdapterFacts(
        sha256=files.sha256,
        files=files.digests,
        base_model=base_model,
        rank=rank_of(contents, settings),
        alpha=settings.alpha,
        target_modules=targets,
        dtype=DTYPES[contents.dtype],
        parameters=sum(entry.count for entry in entries.values()),
        update_norm=norm,
        update_rms=rms,
        bytes=len(files.config) + len(files.weights),
        card=_card(directory),
        warnings=tuple(warnings),
    )


def read_regular(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes; links, devices and pipes are refused, and never waited for.

    Of links only those of a hub's cache to its own blobs are followed.
    """
    try:
        descriptor = os.open(
            hub_cache.blob(path) or path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError as error:
        reason = f"{error.strerror}; put the file there, or name the directory that has it"
        if path.is_symlink() and hub_cache.blob(path) is None:
            reason = "a symbolic link is not followed; copy the file itself there"
        raise AdapterRefusedError(f"{path}: {reason}") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AdapterRefusedError(f"{path}: not a regular file; copy the file itself there")
        if status.st_size > limit:
            raise AdapterRefusedError(
                f"{path}: {status.st_size} bytes, the limit is {limit}; save it in half precision, "
                "or train less of the model"
            )
        content = stream.read(limit + 1)
    if len(content) != status.st_size:
        raise AdapterRefusedError(f"{path}: it changed while it was read; register it when it is whole")
    return content


def _beside(directory: Path) -> list[str]:
    """Warnings about what lies beside the two files; `AdapterRefusedError` where they are not there at all."""
    if not directory.is_dir():
        raise AdapterRefusedError(f"{directory}: not a directory; name the one with {CONFIG}")
    if os.path.lexists(directory / WEIGHTS):
        return [f"{name} is not read, only {WEIGHTS} is" for name in not_read(directory)]
    other = cure_of(directory)
    if other is not None:
        name, cure = other
        raise AdapterRefusedError(f"{directory / name}: {cure}")
    nested = sorted(
        {path.parent for depth in ("*", "*/*", "*/*/*") for path in directory.glob(f"{depth}/{CONFIG}")}
    )[:5]
    if nested:
        raise AdapterRefusedError(
            f"{directory}: no adapter lies in it, but below it: {', '.join(map(str, nested))}; name one of these"
        )
    if any(directory.glob("model*.safetensors")) and not os.path.lexists(directory / CONFIG):
        raise AdapterRefusedError(
            f"{directory}: a whole model lies there and no adapter; name the adapter that was merged into it, or "
            "register the model with `loradex model register`"
        )
    return []


def _declared(
    directory: Path,
    settings: LoraSettings,
    base_model: str,
    sizes: Mapping[str, Size] | None,
    *,
    declared: bool,
) -> str:
    """What to know of an adapter whose config names another base model; `AdapterRefusedError` unless it is declared."""
    shown = "a model it does not name" if settings.base_model is None else repr(settings.base_model)
    if not declared:
        raise AdapterRefusedError(
            f"{directory}: it was trained for {shown}, this base model is {base_model!r}; if that is the same model, "
            f"say so with --base-model {base_model}, or for all adapters with `loradex model alias`"
        )
    if sizes is not None:
        return f"it was trained for {shown}; that {base_model} is meant was declared, and its shapes fit"
    if not is_local(settings.base_model):
        raise AdapterRefusedError(
            f"{directory}: it was trained for {shown}, and the files of {base_model} are not at hand to hold its "
            "factors against; start a worker with that model, or register it where its files are"
        )
    return f"it was trained for {shown}; that {base_model} is meant was declared and could not be checked"


def _card(directory: Path) -> Mapping[str, Any]:
    if not os.path.lexists(directory / CARD):
        return {}
    return strict_object(read_regular(directory / CARD, MAX_CONFIG_BYTES), str(directory / CARD))
