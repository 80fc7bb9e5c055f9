"""The safetensors format, read without torch and without trust: the header is checked before any number is.

Layout of a file: eight bytes little-endian length of the header, the header as a JSON object, then the
numbers. Each entry of the header is `{"dtype", "shape", "data_offsets": [begin, end]}` with offsets into the
numbers; the entries must cover them without hole or overlap. Source: https://github.com/huggingface/safetensors#format
"""

import json
import math
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from loradex.library.model_json import no_constant, unique_keys

Matrix = npt.NDArray[np.float32]

MAX_HEADER_BYTES = 4 << 20
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8
MAX_EXTENT = 1 << 31
ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}


class SafetensorsError(ValueError):
    """The bytes are no well-formed safetensors file; the text says where, and what to do."""


class BrokenFileError(SafetensorsError):
    """The bytes are not those that somebody saved."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}; the file is cut off or damaged, so fetch or save it again")


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the header; `begin` and `end` are bytes from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def read_header(stream: BinaryIO, size: int) -> dict[str, TensorEntry]:
    """The tensors of a file of `size` bytes, in the order of the numbers; raises `SafetensorsError`."""
    prefix = stream.read(8)
    if len(prefix) < 8:  # noqa: PLR2004 - the length of the header is a 64-bit number
        raise BrokenFileError("it is shorter than eight bytes")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise BrokenFileError(f"its header claims {length} bytes, the limit is {MAX_HEADER_BYTES}")
    if 8 + length > size:
        raise BrokenFileError(f"its header claims {length} bytes, the file has {size}")
    fields = _header_object(stream.read(length))
    if len(fields) > MAX_TENSORS:
        raise SafetensorsError(
            f"it has {len(fields)} tensors, the limit is {MAX_TENSORS}; train fewer modules"
        )
    entries = sorted(
        (_entry(name, value, 8 + length) for name, value in fields.items()),
        key=lambda entry: (entry.begin, entry.end),
    )
    position = 8 + length
    for entry in entries:
        if entry.begin != position:
            fault = "overlaps the one before it" if entry.begin < position else "leaves a hole before it"
            raise BrokenFileError(f"tensor {entry.name!r} {fault}")
        position = entry.end
    if position != size:
        raise BrokenFileError(f"its tensors end at byte {position}, the file at {size}")
    return {entry.name: entry for entry in entries}


def as_float32(content: bytes, entry: TensorEntry) -> Matrix:
    """The numbers of one F32, F16 or BF16 tensor of a whole file's `content`, as float32 of `entry.shape`."""
    raw = memoryview(content)[entry.begin : entry.end]
    match entry.dtype:
        case "F32":
            values = np.frombuffer(raw, "<f4")
        case "F16":
            values = np.frombuffer(raw, "<f2").astype(np.float32)
        case "BF16":  # numpy has no bfloat16: it is the upper half of a float32
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        case _:
            raise SafetensorsError(
                f"tensor {entry.name!r} is {entry.dtype}; save it as F32, F16 or BF16, which alone are read"
            )
    return values.reshape(entry.shape)


def _header_object(raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise BrokenFileError(f"its header is not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise BrokenFileError("its header is not a JSON object")
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BrokenFileError("its __metadata__ is not an object of strings")
    return fields


def _entry(name: str, value: object, base: int) -> TensorEntry:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **rest} if not rest:
            pass
        case _:
            raise BrokenFileError(f"tensor {name!r} is not described by dtype, shape and data_offsets")
    if dtype not in ITEM_BYTES:
        raise BrokenFileError(f"tensor {name!r} has the unknown dtype {dtype!r}")
    if len(shape) > MAX_DIMENSIONS or not all(_is_extent(extent) for extent in shape):
        raise BrokenFileError(f"tensor {name!r} has no usable shape")
    if not (_is_offset(begin) and _is_offset(end) and begin <= end):
        raise BrokenFileError(f"tensor {name!r} has no usable data_offsets")
    if end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise BrokenFileError(
            f"tensor {name!r} has {end - begin} bytes, its shape and dtype need another number"
        )
    return TensorEntry(name, dtype, tuple(shape), base + begin, base + end)


def _is_extent(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_EXTENT


def _is_offset(value: object) -> bool:
    return type(value) is int and value >= 0
