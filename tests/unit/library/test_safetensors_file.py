import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from loradex.library.safetensors_file import (
    MAX_HEADER_BYTES,
    SafetensorsError,
    TensorEntry,
    as_float32,
    read_header,
)


def header(content: bytes) -> dict[str, TensorEntry]:
    return read_header(io.BytesIO(content), len(content))


def packed(fields: object, body: bytes = b"") -> bytes:
    raw = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def entry(begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": [(end - begin) // 4] if shape is None else shape,
        "data_offsets": [begin, end],
    }


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda name: name != "__metadata__"
)
arrays = st.lists(st.floats(width=32, allow_nan=False), max_size=6).map(
    lambda numbers: np.array(numbers, np.float32)
)


@given(st.dictionaries(names, arrays, max_size=6))
def test_reads_what_the_reference_implementation_writes(given_arrays: dict[str, np.ndarray]) -> None:
    content = save(given_arrays)
    entries = header(content)
    assert entries.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert np.array_equal(as_float32(content, entries[name]), array)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        entries = header(content)
    except SafetensorsError:
        return
    assert load(content).keys() == entries.keys()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
near_entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "X9"]) | json_values,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | json_values,
    },
)


@given(st.dictionaries(st.text(max_size=4), near_entries | json_values, max_size=4), st.binary(max_size=48))
def test_any_header_is_read_or_refused_and_never_points_outside(fields: dict[str, Any], body: bytes) -> None:
    content = packed(fields, body)
    try:
        entries = header(content)
    except SafetensorsError:
        return
    assert all(
        len(content) - len(body) <= found.begin <= found.end <= len(content) for found in entries.values()
    )


@given(st.data())
def test_a_truncated_file_is_refused(data: st.DataObject) -> None:
    content = save({"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 2), np.float32)})
    with pytest.raises(SafetensorsError):
        header(content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.mark.parametrize(
    ("fields", "body", "reason"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12), "overlaps"),
        ({"a": entry(0, 8), "b": entry(12, 16)}, bytes(16), "hole"),
        ({"a": entry(0, 8)}, bytes(12), "end at byte"),
        ({"a": entry(0, 8, [3])}, bytes(8), "another number"),
        ({"a": entry(0, 8, dtype="F33")}, bytes(8), "unknown dtype"),
        ({"a": entry(0, 8, [-2])}, bytes(8), "shape"),
        ({"a": entry(0, 8, [True, 2])}, bytes(8), "shape"),
        ({"a": entry(8, 0, [2])}, bytes(8), "data_offsets"),
        ({"a": entry(0, 8) | {"more": 1}}, bytes(8), "not described"),
        ({"__metadata__": {"format": 1}}, b"", "__metadata__"),
        ([], b"", "not a JSON object"),
        (b'{"a": {}, "a": {}}', b"", "stands twice"),
        (b'{"a": NaN}', b"", "NaN"),
        (b"\xff", b"", "not JSON"),
        (b"[" * 100_000, b"", "not JSON"),
    ],
)
def test_a_malformed_header_is_refused_with_the_reason(fields: object, body: bytes, reason: str) -> None:
    with pytest.raises(SafetensorsError, match=reason):
        header(packed(fields, body))


def test_a_header_of_claimed_giant_size_is_not_read() -> None:
    with pytest.raises(SafetensorsError, match="limit"):
        header(struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bfloat16_is_the_upper_half_of_a_float32(number: float) -> None:
    upper = np.array([number], "<f4").view("<u4") >> 16
    content = packed({"a": entry(0, 2, [1], "BF16")}, upper.astype("<u2").tobytes())
    expected = (upper.astype("<u4") << 16).view("<f4")
    assert np.array_equal(as_float32(content, header(content)["a"]), expected)


def test_other_numbers_are_not_read_as_float() -> None:
    content = packed({"a": entry(0, 8, [1], "I64")}, bytes(8))
    with pytest.raises(SafetensorsError, match="I64"):
        as_float32(content, header(content)["a"])
