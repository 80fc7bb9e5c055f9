"""`loradex` in a folder full of packages named like ours and like Python's: none of them runs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.hostile import HostileFolder
from tests.acceptance.terminal import Terminal
from tests.fix_training import write_data
from tests.stocked import TASKS, stock
from tests.tiny_library import build_tiny_library

from loradex.embedded import EmbeddedPostgres
from loradex.service.cli import COMMANDS
from loradex.service.cli.lazy import plugins

pytestmark = pytest.mark.timeout(600)

QUESTION = "The kettle whistles. Is the water hot?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def terminal(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A stack of tiny models that `loradex up` started in the hostile folder; `loradex down` ends it there."""
    root = tmp_path_factory.mktemp("anywhere")
    library = build_tiny_library(root / "library", TASKS)
    hostile = HostileFolder(root / "folder", root / "marks")
    settings = {
        "LORADEX_HOME": home,
        "LORADEX_BASE_MODEL_PATH": library.base,
        "LORADEX_ENCODER_PATH": library.encoder,
        "LORADEX_ADAPTER_ROOTS": library.root,
    }
    made = Terminal(
        Path(sys.executable).parent,
        hostile.folder,
        {name: str(value) for name, value in settings.items()},
        hostile.refuse,
    )
    made.loradex("up")
    stock(EmbeddedPostgres(home).url, library)
    yield made
    made.loradex("down")
    EmbeddedPostgres(home).destroy()


@pytest.fixture(scope="module")
def exercises(terminal: Terminal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data` and `cards` of two tasks, whose examples were added."""
    root = write_data(tmp_path_factory.mktemp("exercises"), rows=24)
    files = (root / "data").glob("*.train.jsonl")
    assert "24 added" in terminal.loradex("examples", "add", *files, "--cards", root / "cards")
    for task in ("colours", "echoes"):
        rows = (root / "data" / f"{task}.train.jsonl").read_text().replace("-train-", "-test-")
        (root / "data" / f"{task}.test.jsonl").write_text(rows)
    return root


def test_the_traps_would_close(tmp_path: Path) -> None:
    hostile = HostileFolder(tmp_path / "folder", tmp_path / "marks")
    subprocess.run([sys.executable, "-c", "import json, worker"], cwd=hostile.folder, check=True)

    assert {"json", "worker"} <= set(hostile.imported())
    assert hostile.imported() == []


@pytest.mark.parametrize("name", [*COMMANDS, *plugins()])
def test_help(terminal: Terminal, name: str) -> None:
    assert "--help" in terminal.loradex(name, "--help")


def test_the_stack(terminal: Terminal) -> None:
    terminal.loradex("up")
    assert terminal.loradex("status").count("healthy") == 6
    assert "postgresql://" in terminal.loradex("db", "url")


def test_answers(terminal: Terminal) -> None:
    answer = json.loads(terminal.loradex("ask", QUESTION, "--choices", "yes,no", "--json"))["answer_id"]
    assert QUESTION in terminal.loradex("explain", answer)
    assert "1 of 1 the same" in terminal.loradex("replay", answer)
    assert "intact" in terminal.loradex("audit", "verify")


def test_examples_and_a_library(terminal: Terminal, home: Path, exercises: Path, tmp_path: Path) -> None:
    data, cards = exercises / "data", exercises / "cards"
    assert "colours" in terminal.loradex("examples", "count")
    terminal.loradex("train", "--task", "colours", "--data", data, "--cards", cards)
    (tmp_path / "adapters").mkdir()
    (home / "train" / "colours").rename(tmp_path / "adapters" / "colours")
    assert "1 adapters" in terminal.loradex("library", "build", tmp_path, "--data", data, "--cards", cards)
    assert "all hashes right" in terminal.loradex("library", "verify", tmp_path, "--cards", cards)


def test_measuring_with_processes_of_its_own(terminal: Terminal, exercises: Path) -> None:
    data, cards = exercises / "data", exercises / "cards"
    common = ("--data", data, "--cards", cards)
    measured = terminal.loradex(
        *("eval", *common, "--method", "base", "--limit", "2", "--processes", "2", "--json")
    )
    assert {json.loads(line)["task"] for line in measured.splitlines()} == {"colours", "echoes"}
    terminal.loradex("library", "affinities", *common, "--rows", "2", "--task", "colours", "--json")
