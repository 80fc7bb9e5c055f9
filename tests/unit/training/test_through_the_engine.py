"""What was trained is what answers: the engine gives the scores training measured, on several families."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.fix_models import byte_tokenizer, tiny_model
from tests.fix_training import CARD, card_of, colours

from loradex.library.adapter_files import content_hash
from loradex.library.examples import Example
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.engine.text import Text
from loradex.worker.engine.training import adapter
from loradex.worker.engine.training.branches import BranchScorer
from loradex.worker.engine.training.held_out import branch_scores
from loradex.worker.engine.training.loop import Trainer, wrap
from loradex.worker.engine.training.rows import tokenise
from loradex.worker.engine.training.settings import TrainingSettings

FRAME = "{prompt}\nAnswer:"
SETTINGS = TrainingSettings(rank=2, alpha=4, learning_rate=0.02, evaluations=1, dtype="float32")


@pytest.mark.parametrize("normalization", ["none", "tokens", "bytes"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi"])
def test_the_engine_scores_as_training_did(tmp_path: Path, family: str, normalization: str) -> None:
    tokenizer = byte_tokenizer()
    card = card_of(CARD.replace('"tokens"', f'"{normalization}"'))
    examples = [Example.model_validate(colours(number)) for number in range(24)]
    rows = [tokenise(example, card, Text(tokenizer), tokenizer.eos_token_id, FRAME) for example in examples]
    model = tiny_model(family)
    tuned = wrap(model, replace(SETTINGS), "tiny")
    score = BranchScorer(model, tokenizer.pad_token_id)
    run = Trainer(
        tuned,
        score,
        training=rows[:16],
        held_out=rows[16:],
        settings=SETTINGS,
        directory=tmp_path,
        base_model=("tiny", "0"),
    )
    list(run.run())
    adapter.write(tuned, {"task": "colours"}, tmp_path / "colours")
    with torch.no_grad():
        trained = branch_scores(score([row.branches for row in rows[16:]]), rows[16:])

    engine = Engine(tiny_model(family), tokenizer, bank_bytes=8 << 20)
    sha256 = content_hash(tmp_path / "colours")
    engine.bank.ensure({sha256: tmp_path / "colours"})
    recipe = Recipe("cat", 1.0, "float32", (Component(sha256, 1.0),))
    asked = [
        Row(
            FRAME.format(prompt=card.render(example.fields)),
            recipe,
            kind="choose",
            choices=tuple(card.answer_choices(example) or ()),
            normalization=normalization,  # type: ignore[arg-type]
        )
        for example in examples[16:]
    ]
    for result, expected in zip(engine.answer(asked), trained, strict=True):
        assert isinstance(result, RowResult)
        assert result.scores == pytest.approx(expected.tolist(), abs=2e-4)
