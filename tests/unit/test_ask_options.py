"""What `loradex ask` makes of options that hold several texts."""

import pytest

from loradex.errors import InvalidArgumentError
from loradex.service.cli.ask import split_pairs


def test_pairs_are_read_up_to_the_first_sign() -> None:
    assert split_pairs(["customer=7", "formula=a=b", "empty="]) == {
        "customer": "7",
        "formula": "a=b",
        "empty": "",
    }
    assert split_pairs(None) is split_pairs([]) is None


@pytest.mark.parametrize("texts", [["customer"], ["=7"], [""], ["a=1", "a=2"]])
def test_what_is_not_a_pair_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="KEY=TEXT"):
        split_pairs(texts)
