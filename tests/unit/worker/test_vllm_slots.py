"""What vLLM is laid out for follows what is registered, and the memory there is."""

import re

import pytest
from tests.repository import ROOT

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.memory import Expected
from loradex.worker.engine.vllm.slots import LEAST_LORAS, RANKS, USUAL_LORAS, Slots, slots

MODELS = {  # layers, hidden, inner, and keys
    "SmolLM2-135M": (30, 576, 1536, 192),
    "Llama-3.2-1B": (16, 2048, 8192, 512),
    "Llama-2-7B": (32, 4096, 11008, 4096),
    "Qwen2.5-7B": (28, 3584, 18944, 512),
    "Llama-3.1-8B": (32, 4096, 14336, 1024),
    "Llama-3.1-70B": (80, 8192, 28672, 1024),
}
MIB, GIB = 1 << 20, 1 << 30


def width_of(layers: int, hidden: int, inner: int, keys: int) -> int:
    """Inputs and outputs of all its linear modules but the head."""
    return layers * (2 * (hidden + hidden) + 2 * (hidden + keys) + 3 * (hidden + inner))


LLAMA_8B = width_of(*MODELS["Llama-3.1-8B"])


def suits(
    adapters: int = 0,
    rank: int = 0,
    free: int = 64 * GIB,
    *,
    loras: int | None = None,
    most: int | None = None,
    shared: bool = False,
) -> Slots:
    return slots(loras, most, Expected(adapters, rank), width=LLAMA_8B, itemsize=2, free=free, shared=shared)


@pytest.mark.parametrize(
    ("adapters", "rank", "expected"),
    [(0, 0, 64), (1, 16, 16), (4, 16, 64), (22, 3, 128), (100, 16, 512), (3, 64, 256), (1, 512, 512)],
)
def test_there_is_rank_for_all_adapters_side_by_side(adapters: int, rank: int, expected: int) -> None:
    assert suits(adapters, rank, free=4096 * GIB) == Slots(USUAL_LORAS, expected)


def test_where_memory_is_short_fewer_and_lower_mixtures_are_laid_out() -> None:
    one = Slots(1, 16).bytes(LLAMA_8B, 2)
    assert suits(100, 16, free=4 * 16 * 16 * one) == Slots(USUAL_LORAS, 256)
    assert suits(100, 16, free=4 * 8 * 4 * one) == Slots(LEAST_LORAS, 128)
    assert suits(100, 16, free=4 * 8 * one) == Slots(LEAST_LORAS, 32)
    assert suits(100, 16, free=4 * 5 * one) == Slots(5, 16)
    assert suits(100, 16, free=0) == Slots(1, 16)
    assert suits(100, 16, free=4 * 5 * one, shared=True) == Slots(1, 16)


def test_what_is_asked_for_is_taken() -> None:
    assert suits(100, 16, loras=40, most=100) == Slots(40, 128)
    assert suits(100, 16, loras=40).loras == 40
    assert suits(4, 16, most=8).rank == 8
    with pytest.raises(InvalidArgumentError, match="has LoRAs of rank 512 at most"):
        suits(most=RANKS[-1] + 1)


def test_an_adapter_of_a_higher_rank_than_vllm_has_leaves_it_at_its_highest() -> None:
    assert suits(2, 1024, free=4096 * GIB).rank == RANKS[-1]


def test_the_table_in_the_documentation_is_what_they_take() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    laid_out = [Slots(int(loras), int(rank)) for loras, rank in re.findall(r" (\d+) \S rank (\d+) \|", page)]
    assert len(laid_out) == 6
    for model, shape in MODELS.items():
        takes = [one.bytes(width_of(*shape), 2) for one in laid_out]
        cells = [f"{one / MIB:.0f} MiB" if one < GIB else f"{one / GIB:.1f} GiB" for one in takes]
        assert f"\n| {model} | {' | '.join(cells)} |\n" in page
