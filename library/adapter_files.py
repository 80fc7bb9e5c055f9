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
from loradex.library.adapter_config import is_named, parse_config, strict_object
from loradex.library.adapter_factors import DTYPES, Shapes, check_shapes, check_targets, paired, update_norm
from loradex.library.safetensors_file import SafetensorsError, read_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "card.json"
MAX_CONFIG_BYTES = 256 << 10
MAX_WEIGHTS_BYTES = 1 << 30
# Root mean squares: trained weights 0.02 to 0.2, updates by LoRA 0.001; as large as weights is absurd.
ABSURD_RMS = 0.02


@dataclass(frozen=True)
class AdapterFiles:
    """The bytes of an adapter, read once: what was hashed is what is used."""

    config: bytes = field(repr=False)
    weights: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """The content hash: SHA-256 over a line a file, `name NUL sha256-of-the-bytes newline`."""
        text = "".join(f"{name}\0{digest}\n" for name, digest in self.digests.items())
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def digests(self) -> dict[str, str]:
        """Hex SHA-256 of each file, by name."""
        contents = {CONFIG: self.config, WEIGHTS: self.weights}
        return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


@dataclass(frozen=True)
class AdapterFacts:
    """What registration stores about an adapter.

    `update_norm` is the Frobenius norm of the whole update, the root of the sum over modules of
    ‖alpha / rank · B A‖²; `update_rms` divides it by the root of the number of weights it touches.
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


def inspect(directory: Path, base_model: str, base_shapes: Shapes | None = None) -> AdapterFacts:
    """Everything registration must know, or `AdapterRefusedError` with the reason.

    `base_shapes` are the base model's tensor shapes by name (`[d_out, d_in]` for `<module>.weight`), where
    the model is at hand; the factors must fit them.
    """
    _refuse_pickle(directory)
    files = read_files(directory)
    settings = parse_config(files.config)
    if not is_named(settings.base_model, base_model):
        raise AdapterRefusedError(
            f"{directory}: it was trained for {settings.base_model!r}, this base model is {base_model!r}"
        )
    try:
        entries = read_header(io.BytesIO(files.weights), len(files.weights))
        modules = paired(entries)
        check_targets(modules, settings)
        check_shapes(modules, settings, base_shapes)
        norm, touched = update_norm(files.weights, modules, settings)
    except SafetensorsError as error:
        raise AdapterRefusedError(f"{directory / WEIGHTS}: {error}") from error
    rms = norm / touched**0.5
    warnings = []
    if rms > ABSURD_RMS:
        warnings.append(f"its update has a root mean square of {rms:.3g}: as large as a model's own weights")
    if norm == 0:
        warnings.append("its update is zero: it answers as the base model does")
    return AdapterFacts(
        sha256=files.sha256,
        files=files.digests,
        base_model=base_model,
        rank=settings.rank,
        alpha=settings.alpha,
        target_modules=settings.target_modules,
        dtype=DTYPES[next(iter(entries.values())).dtype],
        parameters=sum(entry.count for entry in entries.values()),
        update_norm=norm,
        update_rms=rms,
        bytes=len(files.config) + len(files.weights),
        card=_card(directory),
        warnings=tuple(warnings),
    )


def read_regular(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes; links, devices and pipes are refused, and never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "a symbolic link is not followed" if path.is_symlink() else error.strerror
        raise AdapterRefusedError(f"{path}: {reason}") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AdapterRefusedError(f"{path}: not a regular file")
        if status.st_size > limit:
            raise AdapterRefusedError(f"{path}: {status.st_size} bytes, the limit is {limit}")
        content = stream.read(limit + 1)
    if len(content) != status.st_size:
        raise AdapterRefusedError(f"{path}: it changed while it was read")
    return content


def _refuse_pickle(directory: Path) -> None:
    if not directory.is_dir():
        raise AdapterRefusedError(f"{directory}: not a directory")
    others = sorted(path.name for path in directory.glob("adapter_model.*") if path.name != WEIGHTS)
    if others:
        raise AdapterRefusedError(
            f"{directory / others[0]}: only safetensors are read, a pickle can run code; "
            f"save the adapter again as {WEIGHTS} and remove this file"
        )


def _card(directory: Path) -> Mapping[str, Any]:
    if not (directory / CARD).exists():
        return {}
    return strict_object(read_regular(directory / CARD, MAX_CONFIG_BYTES), CARD)
