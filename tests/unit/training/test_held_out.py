"""What is written to the held-out rows is marked by the card's metric, and has as many tokens as the card says."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.fix_models import byte_tokenizer, tiny_model
from tests.fix_training import OPEN_CARD, PARTLY_CARD, card_of, echoes

from loradex.library.cards import TaskCard
from loradex.library.examples import Example
from loradex.library.judging import normalise
from loradex.worker.engine.text import Text
from loradex.worker.engine.training.held_out import written_score
from loradex.worker.engine.training.rows import TaskRow, tokenise

FRAME = "{prompt}\nAnswer:"


def written(model: Any, tokenizer: Any, row: TaskRow, tokens: int) -> str:
    """What the model writes of its own accord, by nobody's code but its own."""
    prompt = torch.tensor([row.branches.prompt])
    made = model.generate(prompt, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return str(tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True))


def row_of(card: TaskCard, tokenizer: Any) -> TaskRow:
    example = Example.model_validate(echoes(3))
    return tokenise(example, card, Text(tokenizer), tokenizer.eos_token_id, FRAME)


@pytest.mark.parametrize(("text", "metric_says"), [(OPEN_CARD, 0.0), (PARTLY_CARD, 2 / 3)])
def test_half_an_answer_is_worth_what_the_metric_says(text: str, metric_says: float) -> None:
    card, tokenizer, model = card_of(text), byte_tokenizer(), tiny_model("llama")
    row = row_of(card, tokenizer)
    said = normalise(written(model, tokenizer, row, card.answer_tokens))
    assert len(said.split()) == 1
    half = replace(row, accepted=(f"{said} more",))
    assert written_score(model, tokenizer, [half], card) == pytest.approx(metric_says)
    assert written_score(model, tokenizer, [half, replace(row, accepted=(said,))], card) == pytest.approx(
        (metric_says + 1) / 2
    )


@pytest.mark.parametrize("tokens", [3, 9])
def test_an_answer_has_the_tokens_of_its_card(tokens: int) -> None:
    tokenizer, model = byte_tokenizer(), tiny_model("llama")
    card = card_of(OPEN_CARD + f"answer_tokens = {tokens}\n")
    row = row_of(card, tokenizer)
    answers = {length: written(model, tokenizer, row, length) for length in (3, 9)}
    for length, answer in answers.items():
        marked = written_score(model, tokenizer, [replace(row, accepted=(answer,))], card)
        assert marked == (length == tokens)
