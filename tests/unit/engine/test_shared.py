"""Rows that share adapters get each their own sum, by either way of computing it."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from loradex.worker.engine.layout import Layout, Shape
from loradex.worker.engine.shared import SharedFactors

# The first two are given the same tensor.
LAYOUT = Layout(3, {"one": Shape(12, 8, 1), "two": Shape(12, 12, 1), "other": Shape(8, 20, 2)})
ADAPTERS = 9


def stacks(numbers: torch.Generator) -> dict[int, torch.Tensor]:
    return {
        width: torch.randn(len(planes), ADAPTERS, LAYOUT.rank, width, generator=numbers)
        for width, planes in LAYOUT.planes.items()
    }


def expected(
    planes: dict[int, torch.Tensor],
    places: torch.Tensor,
    coefficients: torch.Tensor,
    name: str,
    x: torch.Tensor,
) -> torch.Tensor:
    index = LAYOUT.modules.index(name)
    (wide_a, a), (wide_b, b) = LAYOUT.places[index, "A"], LAYOUT.places[index, "B"]
    of_a, of_b = planes[wide_a][a].double()[places], planes[wide_b][b].double()[places]
    return torch.einsum("rk,rkpi,rti,rkpo->rto", coefficients[index].double(), of_a, x.double(), of_b)


@given(
    rows=st.integers(1, 6),
    k=st.integers(1, 4),
    tokens=st.sampled_from([1, 2, 30]),
    seed=st.integers(0, 2**31),
)
def test_every_row_has_the_sum_of_its_own_adapters(rows: int, k: int, tokens: int, seed: int) -> None:
    """One token meets all adapters at once, thirty copy their own; an adapter may come twice in a row."""
    numbers = torch.Generator().manual_seed(seed)
    planes = stacks(numbers)
    places = torch.randint(0, ADAPTERS, (rows, k), generator=numbers)
    coefficients = torch.randn(len(LAYOUT.modules), rows, k, generator=numbers)
    updates = SharedFactors(LAYOUT, planes, range(ADAPTERS), places, coefficients)
    some = torch.tensor(sorted({0, rows - 1}))
    given: dict[int | None, torch.Tensor] = {}
    for name, shape in LAYOUT.shapes.items():
        x = given.setdefault(shape.reads, torch.randn(rows, tokens, shape.d_in, generator=numbers))
        out = torch.ones(rows, tokens, shape.d_out)
        updates.add(name, x, out)
        wanted = expected(planes, places, coefficients, name, x) + 1
        assert (out - wanted).abs().max() <= 1e-5 * wanted.abs().max()
        part = torch.ones(len(some), tokens, shape.d_out)
        updates.rows(some).add(name, x[some], part)
        torch.testing.assert_close(part, out[some], rtol=1e-5, atol=1e-4)


def test_a_module_no_adapter_changes_is_left_alone() -> None:
    updates = SharedFactors(
        LAYOUT,
        stacks(torch.Generator().manual_seed(0)),
        range(ADAPTERS),
        torch.tensor([[1]]),
        torch.ones(3, 1, 1),
    )
    out = torch.ones(1, 1, 5)
    updates.add("lm_head", torch.ones(1, 1, 12), out)
    assert torch.equal(out, torch.ones(1, 1, 5))
