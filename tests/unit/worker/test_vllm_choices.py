"""The likelihoods of choices are read where vLLM tells them, whichever of its runners tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from tests.unit.engine.rows import BARE

from loradex.worker.engine.protocol import Failed, Finished
from loradex.worker.engine.questions import Question
from loradex.worker.engine.rows import MergeReport, Row
from loradex.worker.engine.vllm.inhand import Ranked
from loradex.worker.engine.vllm.mixtures import Mixed

IDS = tuple(range(100, 120))
CHOICES = ((1, 2, 3), (4, 5))


@dataclass(frozen=True)
class One:
    logprob: float
    rank: int | None = 1


@dataclass(frozen=True)
class Heard:
    request_id: str
    prompt_logprobs: Sequence[Mapping[int, One] | None] | None
    num_cached_tokens: int | None = 0
    finished: bool = True
    outputs: tuple[()] = ()


@pytest.fixture
def row() -> Ranked:
    """Both choices asked for, as the requests 0 and 1."""
    asked = Row("why", BARE, "choose", ("one", "two"), normalization="none")
    mixed = Mixed("bare", None, MergeReport(0.0, 0.0, 0.0, ()))
    made = Ranked(Question("ticket", asked, IDS, CHOICES), mixed, frozenset(), None)  # type: ignore[arg-type]
    ask(made)
    return made


def ask(row: Ranked) -> None:
    row.names += [str(len(row.names) + place) for place, _ in enumerate(row.requests())]


def told(choice: int, cached: int = 0, *, whole: bool = True) -> list[Mapping[int, One] | None]:
    """Of token t it says -t; of what came from the cache the newer runner nothing, the older something (`whole`)."""
    read = [*IDS, *CHOICES[choice]][1:]
    known: list[Mapping[int, One] | None] = [{token: One(-float(token))} for token in read]
    return [None, *(known if whole else known[cached:])]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("cached", [0, 16, len(IDS) - 1])
def test_likelihoods_are_those_of_the_choices_own_tokens(row: Ranked, cached: int, whole: bool) -> None:
    assert row.hear(Heard("1", told(1, cached, whole=whole), cached)) == []
    (event,) = row.hear(Heard("0", told(0)))
    assert isinstance(event, Finished)
    assert event.result.scores == (-6.0, -9.0)
    assert row.done


@pytest.mark.parametrize("cached", [len(IDS), len(IDS) + 1, 0])
def test_of_what_is_not_told_it_is_asked_once_more_without_the_cache(row: Ranked, cached: int) -> None:
    """Where a request was begun anew from the cache, vLLM may count no token as cached and still tell too few."""
    assert row.hear(Heard("0", told(0, len(IDS) + 1, whole=False), cached)) == []
    (again,) = row.requests()
    assert again.parameters["skip_reading_prefix_cache"]
    row.names.append("2")
    row.hear(Heard("1", told(1)))
    (event,) = row.hear(Heard("2", told(0)))
    assert isinstance(event, Finished)
    assert event.result.scores == (-6.0, -9.0)


@pytest.mark.parametrize("said", [None, told(0, len(IDS), whole=False)])
def test_what_is_not_told_without_the_cache_either_fails_that_row_alone(
    row: Ranked, said: Sequence[Mapping[int, One] | None] | None
) -> None:
    row.hear(Heard("0", said))
    ask(row)
    (event,) = row.hear(Heard("2", said))
    assert isinstance(event, Failed)
    assert event.failure.code == "internal"
    assert row.done
