"""Branches behind one another give the likelihoods of separate sequences."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fix_models import tiny_model
from worker.engine.training.branches import Branches, BranchScorer, collate

MODEL = tiny_model("llama")
SCORE = BranchScorer(MODEL, pad=1)
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


def alone(prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    logits = MODEL(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    return sum(float(logits[len(prompt) + place - 1, token]) for place, token in enumerate(answer))


@settings(max_examples=30, deadline=None)
@given(rows_of_branches)
def test_likelihoods_are_those_of_separate_sequences(rows: list[Branches]) -> None:
    with torch.no_grad():
        together = SCORE(rows)
        apart = [alone(row.prompt, answer) for row in rows for answer in row.answers]
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
