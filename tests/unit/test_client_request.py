import json
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.errors import InvalidArgumentError
from loradex.service.client.request import FIELDS, Request

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
fields = sorted(FIELDS)


@given(st.dictionaries(st.sampled_from(fields) | st.text(max_size=8), anything, max_size=6))
def test_any_mapping_is_a_request_or_a_typed_refusal_on_one_line(values: dict[str, object]) -> None:
    refusal = None
    try:
        request = Request.of(values)
    except InvalidArgumentError as error:
        refusal = str(error)
    if refusal is None:
        text = json.dumps(request.document(), allow_nan=False)
        assert "\\u0000" not in text
    else:
        assert refusal.encode()
        assert len(refusal.splitlines()) == 1


@given(anything)
def test_what_is_no_mapping_is_refused(value: object) -> None:
    if not isinstance(value, dict):
        with pytest.raises(InvalidArgumentError, match="mapping"):
            Request.of(value)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "a\0b"}, "NUL"),
        ({"prompt": "\ud800"}, "surrogate"),
        ({"prompt": "a", "choices": "yes"}, "choices"),
        ({"prompt": "a", "choices": ["yes", 5]}, "choices"),
        ({"prompt": "a", "k": "many"}, "k"),
        ({"prompt": "a", "k": 2.5}, "k"),
        ({"prompt": "a", "k": True}, "k"),
        ({"prompt": "a", "k": 1 << 40}, "k"),
        ({"prompt": "a", "top_p": float("nan")}, "top_p"),
        ({"prompt": "a", "temperature": float("inf")}, "temperature"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "normalization": "median"}, "normalization"),
        ({"prompt": "a", "metadata": [("a", "b")]}, "metadata"),
        ({"prompt": "a", "metadata": {"customer": 7}}, "metadata"),
        ({"prompt": "a", "metadata": {7: "customer"}}, "metadata"),
        ({"prompt": "a", "metadata": {"a": "b\0"}}, "NUL"),
        ({"prompt": "a", "metadata": {"\ud800": "b"}}, "surrogate"),
        ({"prompt": "a", "colour": "red"}, "colour"),
    ],
)
def test_the_refusal_names_what_is_wrong(values: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=field):
        Request.of(values)


def test_what_is_not_said_is_left_to_the_database() -> None:
    assert Request.of({"prompt": "a"}).document() == {"prompt": "a"}
    assert Request.of({"prompt": "a", "choices": ["x", "y"]}).document() == {
        "prompt": "a",
        "choices": ["x", "y"],
    }


def test_a_refusal_does_not_repeat_the_prompt() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Request.of({"prompt": "my secret\0"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "document"),
    [
        ({"k": 5.0}, {"k": 5}),
        ({"k": np.int64(5), "seed": np.uint8(3)}, {"k": 5, "seed": 3}),
        ({"choices": ("a", "b")}, {"choices": ["a", "b"]}),
        ({"choices": {"b", "a"}}, {"choices": ["a", "b"]}),
        ({"exclude_tasks": iter(["b", "a"])}, {"exclude_tasks": ["b", "a"]}),
        ({"metadata": MappingProxyType({"customer": "7"})}, {"metadata": {"customer": "7"}}),
    ],
)
def test_what_means_the_same_is_taken(values: dict[str, object], document: dict[str, object]) -> None:
    assert Request.of({"prompt": "a", **values}).document() == {"prompt": "a", **document}


def test_a_wrong_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(InvalidArgumentError, match="did you mean temperature"):
        Request.of({"prompt": "a", "temprature": 0.5})
    with pytest.raises(InvalidArgumentError, match="known are"):
        Request.of({"prompt": "a", "zzzz": 0.5})
