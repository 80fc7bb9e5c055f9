"""`loradex examples`, `loradex adapter` and `loradex library`, as a user calls them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.fix_adapters import MakeAdapter
from tests.fix_library import SmallLibrary, tools, write_lines
from tests.tiny_library import TinyLibrary

from loradex.library.adapter_store import AdapterStore
from loradex.library.installed import TASKS_DIRECTORY
from loradex.library.manifest import BaseModelEntry
from loradex.service import cli
from loradex.worker.build_library import build_library
from loradex.worker.settings import WorkerSettings

Connection = psycopg.Connection[tuple[Any, ...]]
Loradex = Callable[..., tuple[int, str, str]]


@pytest.fixture
def loradex(
    database_url: str,
    tmp_path: Path,
    tiny_library: TinyLibrary,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Loradex:
    """Run a command; gives exit code, standard output and standard error."""
    for name, value in {
        "LORADEX_HOME": tmp_path,
        "LORADEX_DATABASE_URL": database_url,
        "LORADEX_ADAPTER_ROOTS": tmp_path,
        "LORADEX_BASE_MODEL": "tiny-llama",
        "LORADEX_ENCODER": "tiny",
        "LORADEX_ENCODER_PATH": tiny_library.encoder,
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, str(value))

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


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


def test_a_bad_line_is_one_line_of_error(loradex: Loradex, tmp_path: Path, card_directory: Path) -> None:
    path = write_lines(tmp_path / "bad.jsonl", [tools(1), tools(2) | {"label": 7}])
    code, out, err = loradex("examples", "add", path, "--cards", card_directory)
    assert (code, out) == (1, "")
    assert err == f"loradex: {path}:2: label 7 is outside the 2 choices\n"


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


@pytest.fixture
def with_base_model(connection: Connection) -> None:
    AdapterStore(connection).put_base_model(
        BaseModelEntry(name="tiny-llama", revision="r", context_length=64, frame="{prompt}")
    )


@pytest.mark.usefixtures("with_base_model")
def test_an_adapter_from_registration_to_retirement(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path
) -> None:
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    first, second = make_adapter("one", seed=1), make_adapter("two", seed=2)
    code, out, err = loradex(*register, first)
    assert (code, err) == (0, "")
    assert out.startswith("tools version 1 registered (content ")
    assert loradex(*register, first)[1].startswith("tools version 1 has these files already and is active")
    made = json.loads(loradex(*register, second, "--json")[1])
    assert (made["version"], made["uri"], made["created"], made["warnings"]) == (2, "two", True, [])
    listed = json.loads(loradex("adapter", "list", "--json")[1])
    assert [(row["name"], row["version"]) for row in listed] == [("tools", 2)]
    assert len(json.loads(loradex("adapter", "list", "--all", "--json")[1])) == 2
    assert loradex("adapter", "activate", "tools", "--version", 1)[1] == "tools version 1 is active\n"
    assert loradex("adapter", "retire", "tools", "--version", 1)[1] == "tools version 1 is retired\n"
    assert json.loads(loradex("adapter", "list", "--json")[1]) == []
    shown = json.loads(loradex("adapter", "show", "tools", "--json")[1])
    assert (shown["version"], shown["rank"], shown["target_modules"]) == (2, 2, ["down_proj", "q_proj"])
    code, out, _ = loradex("adapter", "show", "tools")
    assert code == 0
    assert made["sha256"] in out
    assert loradex("adapter", "verify")[:2] == (0, "2 of 2 adapters are as they were registered\n")
    (second / "adapter_model.safetensors").write_bytes((first / "adapter_model.safetensors").read_bytes())
    code, out, _ = loradex("adapter", "verify")
    assert code == 1
    assert out.splitlines() == [
        f"tools version 2: {second / 'adapter_model.safetensors'}: not what was registered",
        "1 of 2 adapters are as they were registered",
    ]


@pytest.mark.usefixtures("with_base_model")
def test_refused_adapters_are_one_line_and_leave_nothing(
    loradex: Loradex,
    make_adapter: MakeAdapter,
    card_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    for arguments, reason, code in (
        ((make_adapter("dora", config={"use_dora": True}), "--task", "tools"), "DoRA", 1),
        ((make_adapter("good"), "--task", "cooking"), "no task card cooking", 2),
        (
            (make_adapter("other", config={"base_model_name_or_path": "x"}), "--task", "tools"),
            "trained for 'x'",
            1,
        ),
        ((outside, "--task", "tools"), "LORADEX_ADAPTER_ROOTS", 1),
    ):
        found, out, err = loradex("adapter", "register", *arguments, "--cards", card_directory)
        assert (found, out, err.count("\n")) == (code, "", 1)
        assert reason in err
    assert json.loads(loradex("adapter", "list", "--all", "--json")[1]) == []


def test_registering_for_an_unknown_base_model_says_what_to_do(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path
) -> None:
    code, _, err = loradex(
        "adapter", "register", make_adapter(), "--task", "tools", "--cards", card_directory
    )
    assert code == 2
    assert "start a worker once" in err


def test_an_absurd_update_is_flagged_and_remembered(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path, with_base_model: None
) -> None:
    directory = make_adapter(config={"lora_alpha": 4000})
    code, _, err = loradex("adapter", "register", directory, "--task", "tools", "--cards", card_directory)
    assert code == 0
    assert "as large as a model's own weights" in err
    shown = json.loads(loradex("adapter", "show", "tools", "--json")[1])
    assert len(shown["card"]["warnings"]) == 1


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
