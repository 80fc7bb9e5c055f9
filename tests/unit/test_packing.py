from hypothesis import given
from hypothesis import strategies as st

from loradex.worker.packing import pack_by_length

lengths = st.lists(st.integers(min_value=1, max_value=500), max_size=60)


@given(lengths, st.integers(1, 40), st.integers(1, 4000), st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_every_index_is_in_exactly_one_group_and_no_group_breaks_a_limit(
    lengths: list[int], rows: int, tokens: int, padding: float
) -> None:
    groups = pack_by_length(lengths, rows=rows, tokens=tokens, padding=padding)

    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[index] for index in group)
        cost = longest * len(group)
        wasted = cost - sum(lengths[index] for index in group)
        assert len(group) <= rows
        assert cost <= tokens or len(group) == 1
        assert wasted < padding * cost


def test_equal_lengths_share_one_group() -> None:
    assert pack_by_length([7, 7, 7], rows=8, tokens=100) == [[0, 1, 2]]


def test_a_short_and_a_long_one_part() -> None:
    assert pack_by_length([100, 2, 101, 3], rows=8, tokens=1000) == [[1, 3], [0, 2]]


def test_nothing_gives_no_groups() -> None:
    assert pack_by_length([], rows=8, tokens=100) == []
