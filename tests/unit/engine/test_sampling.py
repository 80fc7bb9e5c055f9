"""Draws follow the distribution they are told to, and only the row's own seed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.rows import BARE
from torch import Tensor
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from loradex.worker.engine.draw import LOOKED_AT, draw
from loradex.worker.engine.rows import Row
from loradex.worker.engine.sampling import Sampler, pick

LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.0, -3.0])
WORDS = LOOKED_AT[-1] + 100


def shares(temperature: float, top_p: float, rows: int = 200, draws: int = 20) -> Tensor:
    samplers = [Sampler(temperature, top_p=top_p, seed=seed) for seed in range(rows)]
    drawn = [draw(LOGITS.expand(rows, -1), samplers) for _ in range(draws)]
    return torch.tensor(drawn).flatten().bincount(minlength=len(LOGITS)).double() / (rows * draws)


def by_ordering_all(logits: Tensor, sampler: Sampler) -> int:
    """What `draw` promises: the inverse of the cumulative distribution that transformers leaves, likeliest first."""
    scores = logits.double()[None] / sampler.temperature
    ordered, tokens = torch.softmax(scores, -1)[0].sort(descending=True, stable=True)
    kept = torch.where(left_by(scores, sampler.top_k, 1.0, 0.0)[0, tokens], ordered, 0.0)
    mass = kept.cumsum(0)[-1] if sampler.top_k else 1.0
    kept[(sampler.top_p < 1) & (ordered.cumsum(0) - ordered >= sampler.top_p * mass)] = 0.0
    kept = torch.where(left_by(scores, 0, 1.0, sampler.min_p)[0, tokens], kept, 0.0).cumsum(0)
    place = torch.searchsorted(kept, sampler.uniform() * kept[-1], right=True)
    return int(tokens[min(int(place), len(tokens) - 1)])


def left_by(scores: Tensor, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Which tokens transformers leaves to be drawn."""
    nothing = torch.zeros((len(scores), 0), dtype=torch.long)
    for processor in (
        TopKLogitsWarper(top_k) if top_k else None,
        TopPLogitsWarper(top_p) if top_p < 1 else None,
        MinPLogitsWarper(min_p) if min_p else None,
    ):
        scores = scores if processor is None else processor(nothing, scores)
    return scores > -torch.inf


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    expected = torch.softmax(LOGITS.double() / temperature, 0)
    assert (shares(temperature, 1.0) - expected).abs().max() < 0.03


def test_the_nucleus_is_the_smallest_that_holds_the_mass() -> None:
    probabilities = torch.softmax(LOGITS.double(), 0)
    top_p = float(probabilities[1] + probabilities[3]) - 1e-6
    expected = torch.zeros_like(probabilities)
    expected[[1, 3]] = probabilities[[1, 3]] / (probabilities[1] + probabilities[3])
    found = shares(1.0, top_p)
    assert found[[0, 2, 4]].sum() == 0
    assert (found - expected).abs().max() < 0.03


@given(
    seed=st.integers(0, 2**32),
    rows=st.lists(
        st.tuples(
            st.sampled_from([0.3, 1.0, 3.0, 100.0]),
            st.sampled_from([0, 0, 1, 3, 128, 1000]),
            st.sampled_from([1e-6, 0.5, 0.9, 0.999, 1.0]),
            st.sampled_from([0.0, 0.0, 0.02, 0.5, 1.0]),
            # Few different logits, or many: ties must fall as they do in an order of all.
            st.sampled_from([1, 2, 50, 10_000]),
        ),
        min_size=1,
        max_size=4,
    ),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    threads=st.sampled_from([1, 3]),
)
def test_a_row_draws_what_an_order_of_all_words_gives_in_any_batch(
    seed: int, rows: list[tuple[float, int, float, float, int]], dtype: torch.dtype, threads: int
) -> None:
    numbers = torch.Generator().manual_seed(seed)
    logits = torch.stack(
        [torch.randint(levels, (WORDS,), generator=numbers).float() * (8 / levels) for *_, levels in rows]
    ).to(dtype)

    def samplers() -> list[Sampler]:
        return [
            Sampler(heat, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed + place)
            for place, (heat, top_k, top_p, min_p, _) in enumerate(rows)
        ]

    together, alone, expected = samplers(), samplers(), samplers()
    # As many rows as there are threads are read at once.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch, "get_num_threads", lambda: threads)
        for _ in range(2):
            want = [by_ordering_all(*one) for one in zip(logits, expected, strict=True)]
            assert draw(logits, together) == want
            assert [draw(row[None], [one])[0] for row, one in zip(logits, alone, strict=True)] == want


@given(
    seed=st.integers(0, 2**32),
    top_k=st.sampled_from([0, 1, 5, 300, WORDS + 1]),
    top_p=st.sampled_from([0.1, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.001, 0.2]),
)
def test_what_is_drawn_is_what_transformers_leaves(seed: int, top_k: int, top_p: float, min_p: float) -> None:
    """The least and the greatest random number draw the first and the last token of what is left."""
    logits = torch.randn((1, WORDS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3

    class At(Sampler):
        def __init__(self, number: float) -> None:
            super().__init__(1.0, top_k=top_k, top_p=top_p, min_p=min_p)
            self._number = number

        def uniform(self) -> float:
            return self._number

    [left] = left_by(logits, top_k, top_p, min_p)
    order = logits[0].argsort(descending=True)
    first, last = draw(logits.expand(2, -1), [At(0.0), At(1 - 1e-16)])
    assert first == order[0]
    place = int(left.sum()) - 1
    assert last in order[max(0, place - 1) : place + 2] if top_p < 1 else last == order[place]


def test_temperature_zero_is_greedy() -> None:
    assert Sampler(0.0, seed=1).greedy


@given(
    temperature=st.floats(5e-324, 1e-3),
    top_k=st.sampled_from([0, 1, 3]),
    top_p=st.sampled_from([5e-324, 0.5, 1.0]),
    min_p=st.sampled_from([0.0, 5e-324, 1.0]),
    scale=st.sampled_from([1.0, 1e4, 1e36]),
    seed=st.integers(0, 1000),
)
def test_the_coldest_rows_are_greedy_and_leave_those_beside_them_alone(
    temperature: float, top_k: int, top_p: float, min_p: float, scale: float, seed: int
) -> None:
    logits = torch.randn((3, WORDS), generator=torch.Generator().manual_seed(seed))
    # A likeliest token by a margin, tokens that are forbidden, and neighbours at usual temperatures.
    logits[0, seed] += 8.0
    logits[0] *= scale
    logits[0, seed + 1 : seed + 40] = -torch.inf

    def beside() -> list[Sampler]:
        return [Sampler(0.7, seed=seed), Sampler(1.0, top_p=0.9, seed=seed)]

    cold = Sampler(temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    first, *others = draw(logits, [cold, *beside()])
    assert first == int(logits[0].argmax())
    assert others == [
        draw(logits[place][None], [one])[0] for place, one in zip((1, 2), beside(), strict=True)
    ]


@pytest.mark.parametrize("top_k", [0, 100])
@pytest.mark.parametrize("wishes", [{"top_p": 5e-324}, {"min_p": 1.0}, {"top_p": 5e-324, "min_p": 1.0}])
def test_the_least_that_can_be_kept_is_the_likeliest(top_k: int, wishes: dict[str, float]) -> None:
    """Of a flat distribution, where the least mass times that of 100 tokens is rounded to 0."""
    logits = torch.linspace(0, 1e-3, 1000)[None]
    for temperature in (1e-320, 1.0, 100.0):
        assert draw(logits, [Sampler(temperature, top_k=top_k, seed=3, **wishes)]) == [999]


def test_seeds_decide() -> None:
    def drawn(seed: int) -> list[int]:
        sampler = Sampler(1.0, seed=seed)
        return [draw(LOGITS[None], [sampler])[0] for _ in range(30)]

    assert drawn(1) == drawn(1) != drawn(2)


@given(
    temperature=st.sampled_from([5e-324, 1e-3, 1.0, 100.0]),
    top_k=st.sampled_from([0, 1, 1_000_000]),
    top_p=st.sampled_from([5e-324, 1e-300, 1.0]),
    min_p=st.sampled_from([0.0, 5e-324, 1.0]),
    repetition=st.sampled_from([0.01, 1.0, 100.0]),
    others=st.sampled_from([-2.0, 0.0, 2.0]),
    bias=st.sampled_from([-100.0, 0.0, 100.0]),
    scale=st.sampled_from([1.0, 6e4, 1e35]),
    seed=st.integers(0, 100),
)
def test_settings_at_the_ends_of_their_ranges_leave_a_token_to_be_drawn(
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    repetition: float,
    others: float,
    bias: float,
    scale: float,
    seed: int,
) -> None:
    row = Row(
        "why",
        BARE,
        sampling_temperature=temperature,
        sampling_top_k=top_k,
        sampling_top_p=top_p,
        sampling_min_p=min_p,
        repetition_penalty=repetition,
        presence_penalty=others,
        frequency_penalty=others,
        logit_bias=tuple((token, bias) for token in range(300) if bias),
        min_tokens=2,
        seed=seed,
    )
    logits = scale * torch.randn((1, 1000), generator=torch.Generator().manual_seed(seed))
    sampler = Sampler.of(row, range(200), frozenset({7, 8, 9999}))
    for _ in range(2):
        (picked,) = pick(logits, [sampler])
        assert picked.finite
        assert 0 <= picked.token < 1000
        assert picked.token not in {7, 8}
        sampler.take(picked.token)
