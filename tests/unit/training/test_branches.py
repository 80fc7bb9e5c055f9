"""Branches behind one another give the likelihoods of separate sequences."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fix_models import FAMILIES, tiny_model

from loradex.worker.engine.training.branches import Branches, BranchScorer, collate

MODELS = {family: tiny_model(family) for family in FAMILIES}
SCORES = {family: BranchScorer(model, pad=1) for family, model in MODELS.items()}
SCORE = SCORES["llama"]
ids = st.integers(min_value=2, max_value=200)
rows_of_branches = st.lists(
    st.builds(
        Branches,
        st.lists(ids, min_size=1, max_size=9).map(tuple),
        st.lists(st.lists(ids, min_size=1, max_size=5).map(tuple), min_size=1, max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


def alone(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    return sum(float(logits[len(prompt) + place - 1, token]) for place, token in enumerate(answer))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(rows=rows_of_branches)
def test_likelihoods_are_those_of_separate_sequences(family: str, rows: list[Branches]) -> None:
    with torch.no_grad():
        together = SCORES[family](rows)
        apart = [alone(MODELS[family], row.prompt, answer) for row in rows for answer in row.answers]
    torch.testing.assert_close(together, torch.tensor(apart), rtol=1e-4, atol=1e-3)


def test_gradients_do_not_leak_between_branches() -> None:
    rows = [Branches((5, 6), ((7, 8, 9), (10, 11)))]
    with torch.no_grad():
        first = SCORE(rows)[0]
        other = SCORE([Branches((5, 6), ((7, 8, 9), (90, 91, 92, 93)))])[0]
    torch.testing.assert_close(first, other)


def test_a_last_token_is_predicted_but_never_read() -> None:
    row = Branches((5, 6, 7), ((8,), (9, 10)))
    assert row.tokens == 4
    batch = collate([row], 1, torch.device("cpu"))
    assert batch.tokens.tolist() == [[5, 6, 7, 9]]
    assert batch.positions.tolist() == [[0, 1, 2, 3]]
    assert batch.targets.tolist() == [8, 9, 10]
    assert batch.places.tolist() == [2, 2, 3]


def test_the_model_is_as_before_after_scoring() -> None:
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = MODELS["llama"](input_ids=ids).logits
        SCORE([Branches((5, 6), ((7, 8),))])
        torch.testing.assert_close(MODELS["llama"](input_ids=ids).logits, before, rtol=0, atol=0)
