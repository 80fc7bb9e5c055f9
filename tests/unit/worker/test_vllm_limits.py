"""What vLLM would refuse, or answer otherwise than it was asked, is refused with a sentence."""

import pytest
from tests.unit.engine.rows import BARE

from loradex.errors import InvalidArgumentError, PromptTooLongError
from loradex.worker.engine.questions import Question
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.limits import require_possible


def asked(temperature: float, *, choices: tuple[tuple[int, ...], ...] = ()) -> Question:
    return Question("ticket", Row("why", BARE, sampling_temperature=temperature), (1, 2, 3), choices)


@pytest.mark.parametrize("temperature", [5e-324, 1e-5, 0.0099, 2.01, 100.0])
def test_temperatures_that_vllm_would_take_for_others_are_refused(temperature: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"from 0\.01 to 2, and this row asks for"):
        require_possible(asked(temperature), 256)
    require_possible(asked(temperature, choices=((1,),)), 256)


@pytest.mark.parametrize("temperature", [0.0, 0.01, 1.0, 2.0])
def test_others_are_not(temperature: float) -> None:
    require_possible(asked(temperature), 256)


def test_a_prompt_and_a_choice_have_one_token_less_than_the_context() -> None:
    require_possible(asked(0.0, choices=((4,), (5, 6))), 6)
    with pytest.raises(PromptTooLongError, match="have 5 tokens, and vLLM ranks choices in 4"):
        require_possible(asked(0.0, choices=((4,), (5, 6))), 5)
