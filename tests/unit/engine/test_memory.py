"""What adapters and rows have of a device's memory."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loradex.worker.engine import memory
from loradex.worker.engine.layout import Layout, Shape
from loradex.worker.engine.memory import LEAST_ADAPTERS, LEAST_BANK, budgets, free_bytes

GIB = 1 << 30
BYTES = st.integers(0, 1 << 43)
SLOTS = st.integers(1, 1 << 33)
COUNTS = st.integers(0, 5000)


@given(free=BYTES, slot=SLOTS, adapters=COUNTS, shared=st.booleans())
def test_no_more_is_given_away_than_a_share_of_what_is_free(
    free: int, slot: int, adapters: int, shared: bool
) -> None:
    given_away = budgets(free, slot, adapters, shared=shared)
    assert given_away.bank * (16 if shared else 4) <= free
    assert (given_away.bank + given_away.rows) * 8 <= free * (2 if shared else 5)
    assert not shared or given_away.rows <= 2 * GIB


@given(free=BYTES, slot=SLOTS, adapters=COUNTS, shared=st.booleans())
def test_the_bank_has_room_for_all_adapters_where_there_is_memory(
    free: int, slot: int, adapters: int, shared: bool
) -> None:
    bank = budgets(free, slot, adapters, shared=shared).bank
    needed = max(LEAST_BANK, slot * max(adapters, LEAST_ADAPTERS))
    assert bank == needed or (bank < needed and free < (bank + 1) * (16 if shared else 4))


@given(free=BYTES, more=BYTES, slot=SLOTS, adapters=COUNTS, shared=st.booleans())
def test_more_memory_never_means_less_of_either(
    free: int, more: int, slot: int, adapters: int, shared: bool
) -> None:
    small, large = (budgets(size, slot, adapters, shared=shared) for size in (free, free + more))
    assert small.bank <= large.bank
    assert small.rows <= large.rows


def test_a_7b_model_on_a_gpu_of_24_gib_has_several_adapters_of_rank_64() -> None:
    """Llama-2-7B in 16 bits; 256 MiB would hold none of them."""
    wide, deep = 4096, 11008
    layer = [Shape(wide, wide)] * 4 + [Shape(wide, deep)] * 2 + [Shape(deep, wide)]
    layout = Layout(64, {f"{place}": shape for place, shape in enumerate(layer * 32)})
    slot = layout.slot_bytes(torch.bfloat16.itemsize)
    assert 300 << 20 < slot < 310 << 20
    given_away = budgets(10 * GIB, slot, 0, shared=False)
    assert given_away.bank // slot == 8
    assert budgets(20 * GIB, slot, 0, shared=False).bank // slot == 16


def test_a_host_says_what_is_free() -> None:
    assert 64 << 20 < free_bytes(torch.device("cpu")) < 1 << 45


V2 = {
    "memory.max": "4294967296",
    "memory.current": "3221225472",
    "memory.stat": "anon 5\ninactive_file 1073741824\n",
}
V1 = {
    "memory/memory.limit_in_bytes": "4294967296",
    "memory/memory.usage_in_bytes": "3221225472",
    "memory/memory.stat": "cache 7\ninactive_file 3\ntotal_inactive_file 1073741824",
}


@pytest.mark.parametrize(
    ("told", "free"),
    [
        (V2, 2 * GIB),
        (V1, 2 * GIB),
        (V2 | {"memory.stat": "anon 5"}, GIB),
        # A model's file that was hashed and mapped once lies among the active pages.
        (V2 | {"memory.stat": "active_file 1073741824\ninactive_file 1073741824\nfile_mapped 0"}, 3 * GIB),
        (V2 | {"memory.stat": "active_file 1073741824\ninactive_file 0\nfile_mapped 1073741824"}, GIB),
        ({"memory.max": V2["memory.max"], "memory.current": V2["memory.current"]}, GIB),
        (V2 | {"memory.current": "5000000000", "memory.stat": "inactive_file 0"}, 0),
        (V2 | {"memory.max": "max"}, 64 * GIB),
        (V2 | {"memory.max": str(256 * GIB)}, 64 * GIB),
        (V1 | {"memory/memory.limit_in_bytes": "9223372036854771712"}, 64 * GIB),
        ({}, 64 * GIB),
    ],
)
def test_of_a_container_what_is_used_is_not_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: Mapping[str, str], free: int
) -> None:
    (tmp_path / "memory").mkdir()
    for name, text in {**told, "meminfo": "MemTotal: 1 kB\nMemAvailable: 67108864 kB\n"}.items():
        (tmp_path / name).write_text(f"{text}\n", encoding="ascii")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    assert free_bytes(torch.device("cpu")) == free
