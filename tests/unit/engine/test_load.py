"""A base model is converted once, whole or not at all, and named by its content."""

import json
from pathlib import Path

import pytest
import torch
from tests.fix_models import byte_tokenizer, tiny_model

from loradex.errors import LibraryCorruptError
from loradex.settings import Settings
from loradex.worker.engine import load


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "wheel" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    monkeypatch.setattr(load, "_gguf", lambda: path)
    return path


def test_a_conversion_is_kept_and_named_by_its_source(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def convert(_: Path, target: Path) -> None:
        made.append(target)
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(load, "_convert", convert)
    first, second = (load.shipped_model(tmp_path / "models") for _ in range(2))
    assert first == second
    assert len(made) == 1
    assert load.model_revision(first) == load._sha256([source])
    assert [path.name for path in (tmp_path / "models").iterdir()] == [first.name]


def test_a_conversion_that_breaks_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(_: Path, target: Path) -> None:
        (target / "config.json").write_text("{")
        raise OSError("disk full")

    monkeypatch.setattr(load, "_convert", convert)
    with pytest.raises(OSError, match="disk full"):
        load.shipped_model(tmp_path / "models")
    assert not list((tmp_path / "models").iterdir())


def test_a_second_process_may_be_first(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "models" / "smollm2-135m-instruct"

    def convert(_: Path, target: Path) -> None:
        directory.mkdir()
        (directory / load.SOURCE).write_text(json.dumps({"revision": "theirs"}))

    monkeypatch.setattr(load, "_convert", convert)
    assert load.model_revision(load.shipped_model(tmp_path / "models")) == "theirs"


def test_a_missing_wheel_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WHEELS", ("no_such_wheel_anywhere",))
    with pytest.raises(LibraryCorruptError, match="pip install"):
        load.shipped_model(tmp_path)


def test_any_directory_has_a_revision_of_its_content(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        tiny_model("llama", seed=seed).save_pretrained(tmp_path / name)
        byte_tokenizer().save_pretrained(tmp_path / name)
    one, same, other = (load.model_revision(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same != other
    config = tmp_path / "same" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert load.model_revision(tmp_path / "same") != one


def test_the_shipped_model_answers(tmp_path: Path) -> None:
    """The wheel's own weights, read from where a worker keeps them; converted if no worker ever did."""
    directory = load.shipped_model(Settings().home / "cache" / "models")
    model, tokenizer = load.load_model(directory, torch.device("cpu"), torch.float32)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        following = int(model(**ids).logits[0, -1].argmax())
    assert tokenizer.decode([following]).strip() == "Paris"
    assert not any(parameter.requires_grad for parameter in model.parameters())
