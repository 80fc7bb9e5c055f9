"""The loop learns, repeats itself to the bit, goes on after a stop, stops early."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.fix_models import byte_tokenizer, tiny_model
from tests.fix_training import CARD, card_of, colours

from loradex.errors import TrainingDataError
from loradex.library.examples import Example
from loradex.worker.engine.text import Text
from loradex.worker.engine.training import checkpoint
from loradex.worker.engine.training.branches import BranchScorer
from loradex.worker.engine.training.held_out import HeldOut
from loradex.worker.engine.training.loop import Trainer, batch_loss, learning_rate, order, wrap
from loradex.worker.engine.training.rows import TaskRow, split_held_out, tokenise
from loradex.worker.engine.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    rank=2,
    alpha=4,
    learning_rate=0.02,
    epochs=2,
    evaluations=4,
    patience=4,
    checkpoint_steps=1,
    dtype="float32",
)


FRAME = "{prompt}\nAnswer:"
BASE = ("tiny-llama", "r1")


def rows(seed: int = 1, frame: str = FRAME) -> tuple[list[TaskRow], list[TaskRow]]:
    tokenizer = byte_tokenizer()
    text, card = Text(tokenizer), card_of(CARD)
    made = [
        tokenise(Example.model_validate(colours(number)), card, text, tokenizer.eos_token_id, frame)
        for number in range(60)
    ]
    training, held_out = split_held_out(made, seed)  # type: ignore[arg-type]
    return training, held_out  # type: ignore[return-value]


def trainer(
    directory: Path,
    settings: TrainingSettings = SETTINGS,
    base_model: tuple[str, str] = BASE,
    frame: str = FRAME,
) -> tuple[Any, Trainer]:
    training, held_out = rows(frame=frame)
    model = tiny_model("llama")
    tuned = wrap(model, settings, "tiny-llama")
    score = BranchScorer(model, 1)
    return tuned, Trainer(
        tuned,
        score,
        training=training,
        held_out=held_out,
        settings=settings,
        base_model=base_model,
        directory=directory,
    )


def factors(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("loss", ["answer", "ranking"])
def test_it_learns_the_task(tmp_path: Path, loss: Any) -> None:
    _, run = trainer(tmp_path, replace(SETTINGS, loss=loss, epochs=6))
    before = run.measure()
    list(run.run())
    assert run.best.score == 1.0
    assert run.best.loss < before.loss


def test_one_seed_one_adapter_and_another_seed_another(tmp_path: Path) -> None:
    made = []
    for number, seed in enumerate((1, 1, 2)):
        model, run = trainer(tmp_path / str(number), replace(SETTINGS, seed=seed))
        list(run.run())
        made.append(factors(model))
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not all(torch.equal(made[0][name], made[2][name]) for name in made[0])


@pytest.mark.parametrize("stop_after", [1, 5, 9])
def test_a_stopped_run_ends_as_an_unbroken_one(tmp_path: Path, stop_after: int) -> None:
    whole, run = trainer(tmp_path / "whole")
    list(run.run())
    _, run = trainer(tmp_path / "broken")
    steps = run.run()
    for _ in range(stop_after):
        next(steps)
    steps.close()
    again, run = trainer(tmp_path / "broken")
    assert run.progress.step == stop_after
    list(run.run())
    assert all(torch.equal(value, factors(again)[name]) for name, value in factors(whole).items())


def test_the_factors_that_stay_are_the_best_measured_and_rounded(tmp_path: Path) -> None:
    model, run = trainer(tmp_path)
    list(run.run())
    kept = factors(model)
    assert kept.keys() == run.progress.best_factors.keys()
    for name, value in kept.items():
        assert torch.equal(value, value.bfloat16().float())
        assert torch.equal(value, run.progress.best_factors[name].float())
    again = run.measure()
    assert (again.score, again.loss) == (run.best.score, run.best.loss)


def test_it_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    _, run = trainer(tmp_path, replace(SETTINGS, learning_rate=1e-12, evaluations=7, patience=2, epochs=2))
    numbers = [step.number for step in run.run()]
    measured_after_best = [e for e in run.progress.history if (e["step"] or 0) > run.progress.best_step]
    assert len(measured_after_best) == 2
    assert numbers[-1] < run.steps


def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path: Path) -> None:
    _, run = trainer(tmp_path)
    next(run.run())
    with pytest.raises(TrainingDataError, match="--restart"):
        trainer(tmp_path, replace(SETTINGS, learning_rate=0.5))


@pytest.mark.parametrize(
    "other",
    [{"base_model": ("tiny-llama", "r2")}, {"base_model": ("other", "r1")}, {"frame": "Asked: {prompt}"}],
)
def test_a_checkpoint_of_another_model_or_frame_is_not_continued(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    """Its factors would fit, and belong to numbers that are not there any more."""
    _, run = trainer(tmp_path)
    next(run.run())
    with pytest.raises(TrainingDataError, match=r"another base model or frame.*--restart"):
        trainer(tmp_path, **other)


@pytest.mark.parametrize("content", [b"half a file", [1], {"step": 3}])
def test_a_broken_checkpoint_is_named(tmp_path: Path, content: Any) -> None:
    if isinstance(content, bytes):
        (tmp_path / checkpoint.NAME).write_bytes(content)
    else:
        torch.save(content, tmp_path / checkpoint.NAME)
    with pytest.raises(TrainingDataError, match=r"checkpoint\.pt"):
        trainer(tmp_path)


def test_a_kill_while_writing_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = trainer(tmp_path)
    steps = run.run()
    next(steps)
    before = (tmp_path / checkpoint.NAME).read_bytes()

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


def test_every_adapter_of_a_seed_starts_from_the_same_factors() -> None:
    first = factors(wrap(tiny_model("llama"), SETTINGS, "tiny-llama"))
    second = factors(wrap(tiny_model("llama"), replace(SETTINGS, learning_rate=0.3, epochs=9), "tiny-llama"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert all(not value.any() for name, value in first.items() if "lora_B" in name)


def test_the_ranking_loss_is_the_cross_entropy_of_the_scores_plus_a_quarter() -> None:
    training, _ = rows()
    row = training[0]
    score: Callable[..., torch.Tensor] = BranchScorer(tiny_model("llama"), 1)
    with torch.no_grad():
        sums = score([row.branches])
        scores = sums * torch.tensor(row.shares)
        expected = -scores.log_softmax(0)[row.label] - 0.25 * scores[row.label]
        found = batch_loss([row], score, "ranking")  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected)


@given(st.integers(1, 200), st.integers(1, 16), st.integers(1, 3), st.integers(0, 2**31))
def test_each_epoch_sees_every_row_once(count: int, batch: int, epochs: int, seed: int) -> None:
    settings = replace(SETTINGS, batch=batch, epochs=epochs, seed=seed)
    steps = order(count, list(range(count)), settings)
    seen = [number for step in steps for number in step]
    assert sorted(seen) == sorted(list(range(count)) * epochs)
    assert all(1 <= len(step) <= batch for step in steps)
    assert steps == order(count, list(range(count)), settings)


@given(st.integers(1, 500), st.floats(1e-6, 1.0))
def test_the_rate_climbs_to_its_peak_and_falls_to_a_twentieth(steps: int, peak: float) -> None:
    settings = replace(SETTINGS, learning_rate=peak)
    rates = [learning_rate(step, steps, settings) for step in range(steps)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(peak)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates[top:]) >= peak / 20


def test_a_measurement_beats_by_score_or_near_it_by_loss() -> None:
    base = HeldOut(0.5, 0.7, 100)
    assert HeldOut(0.6, 0.9, 100).beats(base)
    assert HeldOut(0.48, 0.6, 100).beats(base)
    assert not HeldOut(0.52, 0.8, 100).beats(base)
    assert not HeldOut(0.4, 0.1, 100).beats(base)
