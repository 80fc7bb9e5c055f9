"""`loradex examples` and `loradex library`, as a user calls them."""

import json
from pathlib import Path

import pytest
from tests.fix_commands import Loradex
from tests.fix_library import SmallLibrary, tools, write_lines
from tests.tiny_library import TinyLibrary

from loradex.library.installed import TASKS_DIRECTORY
from loradex.worker.build_library import build_library
from loradex.worker.settings import WorkerSettings


def test_examples_are_added_counted_and_added_again(
    loradex: Loradex, data_directory: Path, card_directory: Path
) -> None:
    files = sorted(data_directory.iterdir())
    code, out, err = loradex("examples", "add", *files, "--cards", card_directory)
    assert (code, "Traceback" in err) == (0, False)
    assert out.splitlines() == [f"{path.name}: 6 added, 0 there already" for path in files]
    assert "18/18" in err
    code, out, _ = loradex("examples", "add", *files, "--cards", card_directory, "--json")
    assert [(row["added"], row["present"]) for row in json.loads(out)] == [(0, 6)] * 3
    code, out, _ = loradex("examples", "count", "--json")
    assert json.loads(out)[0] == {
        "family": "closed_book_qa",
        "task": "rivers",
        "examples": 6,
        "with_text": 6,
        "with_vector": 6,
    }
    code, out, _ = loradex("examples", "count")
    assert (code, out.splitlines()[-1].split()) == (0, ["all", "18", "18", "18"])


def test_who_is_told_no_encoder_takes_that_of_the_database(
    loradex: Loradex,
    data_directory: Path,
    card_directory: Path,
    tiny_library: TinyLibrary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loradex("encoder", "register", tiny_library.encoder, "--name", "own")
    assert loradex("settings", "set", "encoder", "own")[0] == 0
    monkeypatch.delenv("LORADEX_ENCODER")
    monkeypatch.delenv("LORADEX_ENCODER_PATH")
    add = ("examples", "add", data_directory / "rivers.train.jsonl", "--cards", card_directory)
    code, out, err = loradex(*add)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "jobs read with own" in err
    assert "set LORADEX_ENCODER_PATH" in err
    monkeypatch.setenv("LORADEX_ENCODER_PATH", str(tiny_library.encoder))
    assert loradex(*add)[0] == 0
    (encoder,) = json.loads(loradex("encoder", "list", "--json")[1])
    assert (encoder["name"], encoder["examples"]) == ("own", 6)
    (counted,) = json.loads(loradex("examples", "count", "--json")[1])
    assert (counted["examples"], counted["with_vector"]) == (6, 6)


def test_a_bad_line_is_one_line_of_error(loradex: Loradex, tmp_path: Path, card_directory: Path) -> None:
    path = write_lines(tmp_path / "bad.jsonl", [tools(1), tools(2) | {"label": 7}])
    code, out, err = loradex("examples", "add", path, "--cards", card_directory)
    assert (code, out) == (1, "")
    assert err == f"loradex: {path}:2: label 7 is outside the 2 choices (0 to 1)\n"


def test_a_library_is_verified_loaded_and_its_texts_are_filled_in(
    loradex: Loradex, small_library: SmallLibrary, card_directory: Path, data_directory: Path
) -> None:
    place = (small_library.directory, "--cards", card_directory)
    code, out, _ = loradex("library", "verify", *place)
    assert code == 0
    assert "2 adapters, 18 example vectors, 7 files: all hashes right" in out
    assert (
        json.loads(loradex("library", "verify", *place, "--json")[1])["bytes"]
        == small_library.manifest.total_bytes
    )
    code, out, _ = loradex("library", "load", *place)
    assert (code, out) == (0, "adapters: 2 added, 0 there already; examples: 18 added, 0 there already\n")
    assert json.loads(loradex("library", "load", *place, "--json")[1])["examples_present"] == 18
    code, out, _ = loradex("examples", "hydrate", "--from", data_directory, "--cards", card_directory)
    assert (code, out) == (0, "18 texts filled in, 0 examples still without text\n")
    code, _, err = loradex(
        "examples", "hydrate", "--from", data_directory, "--cards", card_directory, "--task", "cooking"
    )
    assert code == 2
    assert "no task card for cooking" in err


def test_a_library_that_moved_is_loaded_again_from_its_new_place(
    loradex: Loradex, small_library: SmallLibrary, card_directory: Path, tmp_path: Path
) -> None:
    loradex("library", "load", small_library.directory, "--cards", card_directory)
    moved = small_library.directory.rename(tmp_path / "moved")
    assert loradex("adapter", "verify")[0] == 1
    load = ("library", "load", moved, "--cards", card_directory)
    code, out, err = loradex(*load)
    assert code == 0
    assert out.startswith("adapters: 0 added, 2 there already, 2 of them at another place; examples: 0 added")
    assert "--move has them looked for here" in err
    assert loradex("adapter", "verify")[0] == 1, "a place that somebody chose is not undone"
    code, out, err = loradex(*load, "--move")
    assert out.startswith("adapters: 0 added, 2 there already; examples: 0 added")
    assert "--move" not in err
    assert loradex("adapter", "verify")[0] == 0


def test_a_damaged_library_is_named_by_both_commands(
    loradex: Loradex, small_library: SmallLibrary, card_directory: Path
) -> None:
    path = small_library.directory / "examples.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    for command in ("verify", "load"):
        code, out, err = loradex("library", command, small_library.directory, "--cards", card_directory)
        assert (code, out) == (1, "")
        assert err.count("\n") == 1
        assert str(path) in err


def test_a_library_is_built_by_the_workers_program(
    loradex: Loradex,
    small_library: SmallLibrary,
    card_directory: Path,
    data_directory: Path,
    tiny_library: TinyLibrary,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("LORADEX_BASE_MODEL_PATH", str(tiny_library.base))
    (small_library.directory / "manifest.json").unlink()
    left = small_library.directory / "adapters" / "checkpoints" / "tools"
    left.mkdir(parents=True)
    (left / "step-1.safetensors").write_bytes(b"half trained")
    manifest = build_library(
        WorkerSettings(), small_library.directory, data_directory, card_directory, per_task=4, seed=1
    )
    assert len(manifest.adapters) == 2
    out = loradex("library", "verify", small_library.directory, "--cards", card_directory)[1]
    assert "2 adapters, 12 example vectors, 7 files: all hashes right" in out


def test_the_cards_of_this_repository_are_the_default() -> None:
    assert len(list(TASKS_DIRECTORY.glob("*.toml"))) == 22
