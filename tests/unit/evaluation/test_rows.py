"""Which rows of a file are asked."""

from hypothesis import given
from hypothesis import strategies as st

from loradex.evaluation.rows import drawn, held_out, shared
from loradex.library.examples import Example

SIZES = st.integers(0, 12)


def rows(count: int) -> list[Example]:
    return [
        Example(
            id=f"colours-{place}",
            task="colours",
            family="sight",
            fields={"text": "red?"},
            choices=["no", "yes"],
            label=int(place >= count // 2),
            answers=["yes"],
        )
        for place in range(count)
    ]


def test_of_rows_in_order_of_their_labels_both_are_drawn_and_always_the_same() -> None:
    some = drawn(rows(40), 8)
    assert {row.label for row in some} == {0, 1}
    assert some == drawn(rows(40), 8)


@given(size=SIZES, count=st.none() | SIZES, measured=SIZES)
def test_what_is_held_out_made_no_affinity_while_there_are_others(
    size: int, count: int | None, measured: int
) -> None:
    every = rows(size)
    asked = [row.id for row in held_out(every, count, measured)]
    made = {row.id for row in drawn(every, measured)}
    assert len(asked) == len(set(asked)) == (size if count is None else min(count, size))
    assert len(made & set(asked)) == shared(every, count, measured)
    assert (shared(every, count, measured) == 0) == (len(asked) <= max(0, size - measured))
