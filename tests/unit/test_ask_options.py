"""What `loradex ask` makes of options that hold several texts."""

import pytest

from loradex.errors import InvalidArgumentError
from loradex.service.cli.ask import split_biases, split_pairs


def test_pairs_are_read_up_to_the_first_sign() -> None:
    assert split_pairs("--metadata", "KEY=TEXT", ["customer=7", "formula=a=b", "empty="]) == {
        "customer": "7",
        "formula": "a=b",
        "empty": "",
    }
    assert split_pairs("", "", None) is split_pairs("", "", []) is None
    assert split_biases(["17=-1.5", "4=2"]) == {"17": -1.5, "4": 2.0}
    assert split_biases(None) is None


@pytest.mark.parametrize("texts", [["customer"], ["=7"], [""], ["a=1", "a=2"]])
def test_what_is_not_a_pair_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="KEY=TEXT"):
        split_pairs("--metadata", "KEY=TEXT", texts)


@pytest.mark.parametrize("texts", [["17"], ["17=much"], ["17="], ["17=1", "17=2"]])
def test_what_is_no_bias_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="--logit-bias takes TOKEN=NUMBER"):
        split_biases(texts)
