"""Test rows for the tasks of the stocked database, and an engine beside it."""

import json
from pathlib import Path

import pytest
from tests.fix_answering import Stack
from tests.stocked import EXAMPLES

from loradex.library.cards import TaskCard, load_cards
from loradex.worker.settings import WorkerSettings

CARD = """
name = "{task}"
family = "{family}"
metric = "accuracy"
prompt = "{{text}}"
max_prompt_tokens = 120

[choices]
kind = "labels"
normalization = "tokens"
words = {{ right = "yes", wrong = "no" }}
"""
OPEN_CARD = """
name = "garden"
family = "outside"
metric = "exact_match"
prompt = "{text}"
max_prompt_tokens = 120
"""


def rows(task: str, kind: str) -> list[dict[str, object]]:
    """Six rows of a task; the train rows' ids are those of the stocked examples."""
    texts = EXAMPLES[task] if kind == "train" else [f"{text} Really?" for text in EXAMPLES[task]]
    chooses = task != "garden"
    return [
        {
            "id": f"{task}-{number}" if kind == "train" else f"{task}-test-{number}",
            "task": task,
            "family": "home",
            "fields": {"text": text},
            "choices": ["wrong", "right"] if chooses else None,
            "label": number % 2 if chooses else None,
            "answers": [["wrong", "right"][number % 2]] if chooses else ["a"],
        }
        for number, text in enumerate(texts)
    ]


@pytest.fixture(scope="session")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `data` and `cards` for weather, kitchen (choices) and garden (open)."""
    root = tmp_path_factory.mktemp("exam")
    for folder in ("data", "cards"):
        (root / folder).mkdir()
    for task in EXAMPLES:
        for kind in ("train", "test"):
            lines = "".join(json.dumps(row) + "\n" for row in rows(task, kind))
            (root / "data" / f"{task}.{kind}.jsonl").write_text(lines)
        card = OPEN_CARD if task == "garden" else CARD.format(task=task, family="inside")
        (root / "cards" / f"{task}.toml").write_text(card)
    return root


@pytest.fixture(scope="session")
def exam_cards(exam: Path) -> dict[str, TaskCard]:
    return load_cards(exam / "cards")


@pytest.fixture
def exam_settings(answering: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> WorkerSettings:
    """A worker's settings on the running stack, with a home of the test's own."""
    for name, value in (answering.environment() | {"LORADEX_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    return WorkerSettings()
