"""`loradex train` as a user meets it: a process, killed and started again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.fix_models import tiny_model
from tests.fix_training import CARD, OPEN_CARD, PARTLY_CARD, card_of

from loradex.errors import LoradexError
from loradex.library.adapter_files import content_hash, inspect
from loradex.worker.engine.training.checkpoint import alone
from loradex.worker.settings import WorkerSettings
from loradex.worker.train import TrainRequest, settings_for
from loradex.worker.train import train as train_tasks

PROGRAM = [sys.executable, "-c", "from loradex.service.cli import main; main()", "train"]


def run(settings: WorkerSettings, request: TrainRequest, *, as_json: bool) -> int:
    """As the command line does: an error is one line on standard error, and its exit code."""
    try:
        return train_tasks(settings, request, as_json=as_json)
    except LoradexError as error:
        sys.stderr.write(f"loradex: {error}\n")
        return error.exit_code


def environment(base: Path, home: Path) -> dict[str, str]:
    return os.environ | {
        "LORADEX_BASE_MODEL": "tiny-llama",
        "LORADEX_BASE_MODEL_PATH": str(base),
        "LORADEX_HOME": str(home),
        "LORADEX_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }


def train(workshop: Path, base: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, "--data", str(workshop / "data"), "--cards", str(workshop / "cards"), *options]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(base, workshop / "home"), check=False
    )


def test_an_adapter_comes_out_that_peft_loads_and_the_card_says_how(workshop: Path, tiny_base: Path) -> None:
    done = train(workshop, tiny_base, "--task", "colours", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    directory = workshop / "home" / "train" / "colours"
    assert shown["directory"] == str(directory)
    assert sorted(path.name for path in directory.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "card.json",
    ]
    facts = inspect(directory, "tiny-llama")
    assert (facts.rank, facts.alpha, facts.dtype) == (3, 6, "bfloat16")
    assert facts.update_norm > 0
    weights = load_file(directory / "adapter_model.safetensors")
    loaded = PeftModel.from_pretrained(tiny_model("llama"), directory)
    got = {
        name.replace(".default", ""): value for name, value in loaded.named_parameters() if "lora_" in name
    }
    assert all(torch.equal(got[name], value.float()) for name, value in weights.items())
    card = json.loads((directory / "card.json").read_text())
    assert card["data"]["training_rows"] == 54
    assert card["data"]["held_out_rows"] == 6
    assert not card["data"]["training"].keys() & card["data"]["held_out"].keys()
    assert card["held_out"]["accuracy_after"] >= card["held_out"]["accuracy_before"]
    assert str(workshop) not in (directory / "card.json").read_text()
    assert str(tiny_base) not in (directory / "adapter_config.json").read_text()


def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(
    workshop: Path, tiny_base: Path, settings: WorkerSettings
) -> None:
    overrides = {"epochs": 12, "evaluations": 1}
    whole = request(workshop, "colours", out=workshop / "whole", overrides=overrides)
    assert run(settings, whole, as_json=True) == 0
    long = ("--task", "colours", "--epochs", "12", "--evaluations", "1")
    command = [*PROGRAM, "--data", str(workshop / "data"), "--cards", str(workshop / "cards"), *long]
    command += ["--out", str(workshop / "broken")]
    checkpoint = workshop / "broken" / "checkpoints" / "colours" / "checkpoint.pt"
    with subprocess.Popen(
        command,
        env=environment(tiny_base, workshop / "home"),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        while not checkpoint.exists():
            assert running.poll() is None
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
    assert not (workshop / "broken" / "colours").exists()
    again = train(workshop, tiny_base, *long, "--out", str(workshop / "broken"))
    assert again.returncode == 0, again.stderr
    assert "going on at step" in again.stderr
    assert content_hash(workshop / "whole" / "colours") == content_hash(workshop / "broken" / "colours")


def request(workshop: Path, *tasks: str, **changes: Any) -> TrainRequest:
    asked = TrainRequest(
        tasks=tasks,
        data=workshop / "data",
        out=None,
        cards=workshop / "cards",
        device="cpu",
        skip_finished=not tasks,
        start=None,
        restart=False,
        overrides={"max_examples": 24, "evaluations": 1},
    )
    return replace(asked, **changes)


@pytest.fixture
def settings(workshop: Path, tiny_base: Path) -> WorkerSettings:
    return WorkerSettings(home=workshop / "home", base_model="tiny-llama", base_model_path=tiny_base)


def test_all_skips_what_is_finished_and_trains_open_questions_too(
    workshop: Path, settings: WorkerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, request(workshop, "colours"), as_json=True) == 0
    made = content_hash(workshop / "home" / "train" / "colours")
    capsys.readouterr()
    assert run(settings, request(workshop), as_json=True) == 0
    shown = capsys.readouterr()
    assert "colours: finished before" in shown.err
    assert [json.loads(line)["task"] for line in shown.out.splitlines()] == ["echoes"]
    assert content_hash(workshop / "home" / "train" / "colours") == made


@pytest.mark.parametrize(
    ("text", "metric", "tokens"), [(OPEN_CARD, "exact_match", 16), (PARTLY_CARD, "f1", 5)]
)
def test_an_open_question_is_judged_by_the_metric_of_its_card(
    workshop: Path,
    settings: WorkerSettings,
    capsys: pytest.CaptureFixture[str],
    text: str,
    metric: str,
    tokens: int,
) -> None:
    (workshop / "cards" / "echoes.toml").write_text(text)
    assert run(settings, request(workshop, "echoes"), as_json=False) == 0
    shown = capsys.readouterr()
    assert f"held out before: {metric} 0." in shown.err
    card = json.loads((workshop / "home" / "train" / "echoes" / "card.json").read_text())
    held_out = card["held_out"]
    before, after = held_out[f"{metric}_before"], held_out[f"{metric}_after"]
    assert shown.out.startswith(f"echoes: {metric} on 6 held-out rows {before:.3f} → {after:.3f} in ")
    assert (held_out["metric"], card["answer_tokens"]) == (metric, tokens)
    assert not any(name.startswith("accuracy") for name in held_out)


def test_a_run_that_starts_from_an_adapter_goes_on_where_it_was(
    workshop: Path, settings: WorkerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = workshop / "first", workshop / "second"
    assert run(settings, request(workshop, "colours", out=first), as_json=False) == 0
    still = {"max_examples": 24, "evaluations": 1, "learning_rate": 1e-9}
    again = request(workshop, "colours", out=second, start=first, overrides=still)
    assert run(settings, again, as_json=False) == 0
    before = load_file(first / "colours" / "adapter_model.safetensors")
    after = load_file(second / "colours" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=1e-3) for name in before)
    card = json.loads((second / "colours" / "card.json").read_text())
    assert card["settings"]["start"] == content_hash(first / "colours")
    assert card["started_from"]["data"]["training_rows"] == 24
    assert card["held_out"]["accuracy_before"] == card["started_from"]["held_out"]["accuracy_before"]
    capsys.readouterr()
    leaking = request(workshop, "colours", out=second, start=first, overrides=still | {"seed": 7})
    assert run(settings, leaking, as_json=False) == 1
    assert "trained with another seed" in capsys.readouterr().err


def test_what_an_adapter_was_trained_on_before_is_not_forgotten(
    workshop: Path, settings: WorkerSettings
) -> None:
    """A row that made the factors it starts from is no row that it never saw."""
    before: set[str] = set()
    for number, rows in enumerate((24, 12, 6)):
        done = request(
            workshop,
            "colours",
            out=workshop / str(number),
            start=workshop / str(number - 1) if number else None,
            overrides={"max_examples": rows, "evaluations": 1, "learning_rate": 1e-9},
        )
        assert run(settings, done, as_json=True) == 0
        card = json.loads((workshop / str(number) / "colours" / "card.json").read_text())
        own = set(card["data"]["training"])
        assert len(own) == rows
        before |= own
    nested = [card, card["started_from"], card["started_from"]["started_from"]]
    assert [len(one["data"]["training"]) for one in nested] == [6, 6, 12]
    assert set().union(*(one["data"]["training"] for one in nested)) == before
    assert "held_out" not in card["started_from"]["data"]


def test_what_was_made_for_another_model_is_neither_skipped_nor_gone_on_from(
    workshop: Path, settings: WorkerSettings, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, request(workshop, "colours", "echoes"), as_json=True) == 0
    out = workshop / "home" / "train"
    made = content_hash(out / "colours")
    other = workshop / "base"
    shutil.copytree(tiny_base, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))
    capsys.readouterr()
    for change, said in (
        ({"base_model": "llama-2"}, "colours: trained for tiny-llama, and the base model is llama-2"),
        ({"base_model_path": other}, "with other files than those of tiny-llama now; name another --out"),
    ):
        changed = settings.model_copy(update=change)
        assert run(changed, request(workshop), as_json=True) == 1
        shown = capsys.readouterr()
        assert said in " ".join(shown.err.split())
        assert shown.out == ""
        start = request(workshop, "colours", out=workshop / "next", start=out)
        assert run(changed, start, as_json=True) == 1
        assert "base model; train from fresh factors" in " ".join(capsys.readouterr().err.split())
    assert content_hash(out / "colours") == made
    (out / "colours" / "card.json").write_text("[]")
    assert run(settings, request(workshop), as_json=True) == 1
    assert "no card that loradex train wrote" in capsys.readouterr().err
    (out / "echoes" / "adapter_model.safetensors").write_bytes(b"half")
    start = request(workshop, "echoes", out=workshop / "next", start=out)
    assert run(settings, start, as_json=True) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_what_a_task_card_says_holds_unless_the_caller_says_otherwise() -> None:
    card = card_of(CARD)
    assert settings_for(card, {}).epochs == 2
    assert settings_for(card, {"epochs": 5}).epochs == 5
    assert settings_for(card, {"epochs": 5}).learning_rate == 0.02


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.unlink(), "no such file"),
        (lambda file: file.write_text("{}\n"), "colours.train.jsonl:1: no thing: the prompt of task colours"),
        (
            lambda file: file.write_text("".join(file.read_text().splitlines(keepends=True)[:5])),
            "at least 20",
        ),
        (lambda file: file.with_name("colours.test.jsonl").hardlink_to(file), "a test file"),
    ],
)
def test_bad_data_is_refused_on_one_line_before_anything_is_trained(
    workshop: Path, settings: WorkerSettings, capsys: pytest.CaptureFixture[str], spoil: Any, reason: str
) -> None:
    spoil(workshop / "data" / "colours.train.jsonl")
    assert run(settings, request(workshop, "echoes", "colours"), as_json=False) == 1
    said = capsys.readouterr().err
    assert reason in said
    assert len(said.strip().splitlines()) == 1
    assert not (workshop / "home").exists()


def test_an_unknown_task_names_the_known_ones(
    workshop: Path, settings: WorkerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, request(workshop, "tastes"), as_json=False) == 1
    assert "there are: colours, echoes" in capsys.readouterr().err


def test_two_processes_do_not_train_one_task(
    workshop: Path, settings: WorkerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone(workshop / "home" / "train" / "checkpoints" / "colours"):
        assert run(settings, request(workshop, "colours"), as_json=False) == 1
    assert "another process trains" in capsys.readouterr().err


def test_neither_task_nor_all_is_a_usage_error(workshop: Path) -> None:
    command = [*PROGRAM, "--data", str(workshop / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--task" in done.stderr
