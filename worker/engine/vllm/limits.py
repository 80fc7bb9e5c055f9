"""What vLLM cannot do is refused before anything is computed."""

from typing import Final

from loradex.errors import InvalidArgumentError, PromptTooLongError
from loradex.worker.engine.questions import Question

WARMEST: Final = 2.0
"""The highest temperature that vLLM samples at."""
COLDEST: Final = 0.01
"""The lowest above 0: one that is lower it takes for this, and says so in its log only."""


def require_possible(question: Question, context_length: int) -> None:
    """Refuses a question that vLLM would refuse, or answer otherwise than it says.

    Args:
        question: What is asked.
        context_length: Tokens a prompt and its answer may have together.

    Raises:
        InvalidArgumentError: vLLM has no such setting.
        PromptTooLongError: It does not rank choices of as many tokens.
    """
    if question.choices:
        if question.most_tokens >= context_length:
            raise PromptTooLongError(
                f"prompt and choice have {question.most_tokens} tokens, and vLLM ranks choices in "
                f"{context_length - 1}; shorten them"
            )
        return
    temperature = question.row.sampling_temperature
    if temperature > 0 and not COLDEST <= temperature <= WARMEST:
        raise InvalidArgumentError(
            f"vLLM samples at temperatures from {COLDEST:g} to {WARMEST:g}, and this row asks for {temperature:g}; "
            "change it, or set 0 for the likeliest text, or LORADEX_ENGINE=torch"
        )
    if question.grammar is not None and question.row.logprobs is not None:
        raise InvalidArgumentError(
            "vLLM tells logprobs of what a constraint leaves, not of the model; leave logprobs or the constraint "
            "out, or set LORADEX_ENGINE=torch"
        )
