"""A model is what its files are: every file that a loader reads counts, and is read when it is asked."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from loradex.errors import LibraryCorruptError
from loradex.library.model_files import SOURCE, files_of, is_conversion, note_conversion, read_whole

CONFIG = '{"rms_norm_eps": 1e-05}'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "1_Pooling").mkdir(parents=True)
    (directory / ".cache").mkdir()
    for name, text in (
        ("config.json", CONFIG),
        ("model.safetensors", "weights"),
        ("tokenizer.json", "{}"),
        ("1_Pooling/config.json", "{}"),
        ("README.md", "a page"),
        (".cache/lock", ""),
    ):
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize(
    "change",
    [
        lambda model: (model / "config.json").write_text(CONFIG.replace("1e-05", "0.5")),
        lambda model: (model / "model.safetensors").write_text("other"),
        lambda model: (model / "tokenizer.json").write_text('{"a": 1}'),
        lambda model: (model / "1_Pooling" / "config.json").write_text('{"cls": true}'),
        lambda model: (model / "tokenizer.json").rename(model / "vocab.json"),
        lambda model: (model / "chat_template.jinja").write_text("{{ prompt }}"),
        lambda model: (model / "1_Pooling" / "config.json").unlink(),
    ],
    ids=["config", "weights", "tokenizer", "module", "another name", "one more", "one less"],
)
def test_another_file_is_another_revision(model: Path, change: Callable[[Path], object]) -> None:
    before = files_of(model)
    assert before.revision == before.digest
    assert files_of(model) == before
    change(model)
    assert files_of(model).revision != before.revision


def test_pages_and_hidden_files_are_no_part_of_it(model: Path) -> None:
    before = files_of(model)
    (model / "README.md").write_text("another page")
    (model / ".cache" / "lock").unlink()
    (model / "__pycache__").mkdir()
    (model / "__pycache__" / "a.pyc").touch()
    assert files_of(model) == before


def test_the_digest_can_be_computed_with_sha256sum(model: Path) -> None:
    line = "find . -type f ! -name '*.md' ! -path '*/.*' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c-64"
    done = subprocess.run(["sh", "-c", line], cwd=model, capture_output=True, text=True, check=True)
    assert files_of(model).digest == done.stdout.strip()


def test_a_conversion_has_its_source_for_a_revision_until_a_file_of_it_changes(
    model: Path, tmp_path: Path
) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(b"quantised")
    assert not is_conversion(model)
    plain = files_of(model).digest
    note_conversion(model, source)
    assert is_conversion(model)
    made = files_of(model)
    assert made.digest == plain
    assert made.revision == json.loads((model / SOURCE).read_text())["revision"] != plain

    (model / "config.json").write_text(CONFIG.replace("1e-05", "0.5"))
    changed = files_of(model)
    assert changed.revision == changed.digest != made.digest


@pytest.mark.parametrize("told", ["", "[]", '{"digest": 1}', '{"revision": "x"}', "\xff"])
def test_a_broken_note_of_a_conversion_is_none(model: Path, told: str) -> None:
    (model / SOURCE).write_text(told, encoding="latin-1")
    assert not is_conversion(model)
    assert files_of(model).revision == files_of(model).digest


def test_a_file_that_changes_while_it_is_loaded_is_noticed(model: Path) -> None:
    assert read_whole(model, lambda _: "loaded") == ("loaded", files_of(model))
    with pytest.raises(LibraryCorruptError, match="changed while"):
        read_whole(model, lambda place: (place / "config.json").write_text(CONFIG + " "))


def test_files_that_were_hashed_before_are_hashed_again_only_if_they_changed(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = files_of(model)
    (model / "model.safetensors").write_text("other weights")
    changed = read_whole(model, str, known)[1]
    assert changed == files_of(model) != known
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert read_whole(model, str, changed) == (str(model), changed)
    with pytest.raises(LibraryCorruptError, match="changed while"):
        read_whole(model, lambda place: (place / "config.json").write_text(CONFIG + " "), changed)


def test_a_directory_without_a_model_says_so(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(LibraryCorruptError, match="no model"):
            files_of(place)
