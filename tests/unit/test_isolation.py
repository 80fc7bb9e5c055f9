from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.errors import AdapterChangedError, DatabaseUnavailableError
from loradex.worker.isolation import Failure, run_isolated


def doubled_unless_negative(numbers: Sequence[int]) -> list[int]:
    for number in numbers:
        if number < 0:
            raise AdapterChangedError(f"{number} is negative")
    return [2 * number for number in numbers]


@given(st.lists(st.integers(-3, 9), max_size=20))
def test_only_the_item_at_fault_fails(numbers: list[int]) -> None:
    results = run_isolated(doubled_unless_negative, numbers)

    assert len(results) == len(numbers)
    for number, result in zip(numbers, results, strict=True):
        if number < 0:
            assert result == Failure("adapter_changed", f"{number} is negative")
        else:
            assert result == 2 * number


def test_an_error_nobody_planned_is_an_internal_failure() -> None:
    def divide(numbers: Sequence[int]) -> list[float]:
        return [1 / number for number in numbers]

    assert run_isolated(divide, [1, 0, 2]) == [
        1.0,
        Failure("internal", "ZeroDivisionError: division by zero"),
        0.5,
    ]


def test_an_outage_of_the_database_is_nobodys_fault() -> None:
    def away(_: Sequence[int]) -> list[int]:
        raise DatabaseUnavailableError("gone")

    with pytest.raises(DatabaseUnavailableError):
        run_isolated(away, [1, 2])
