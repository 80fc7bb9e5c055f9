"""A small library on disk: invented examples, two adapters, vectors of eight dimensions."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.fix_adapters import CONFIG, safetensors_bytes, tensors

from loradex.library.build import LibrarySpec, build_library
from loradex.library.cards import TaskCard, load_cards
from loradex.library.manifest import BaseModelEntry, EncoderEntry, Manifest
from loradex.library.rendered import RenderedExample, render_file
from loradex.library.vectors import Vectors

DIMENSIONS = 8
ENCODER = EncoderEntry(name="counting", revision="r1", dimensions=DIMENSIONS)
BASE = BaseModelEntry(name="tiny-llama", revision="b1", context_length=128, frame="{prompt}\nAnswer:")

CARDS = {
    "weather": """
name = "weather"
family = "nli"
metric = "accuracy"
prompt = "Premise: {premise}\\nHypothesis: {hypothesis}\\nDoes it follow?"
[choices]
kind = "labels"
words = { entailment = "yes", not_entailment = "no" }
[source]
dataset = "someone/weather"
splits = { train = "train", dev = "validation" }
fields = { premise = "what+how_long", hypothesis = "second" }
label = "label"
licence = "invented"
""",
    "tools": """
name = "tools"
family = "commonsense"
metric = "accuracy"
prompt = "Goal: {goal}"
[choices]
kind = "options"
[source]
dataset = "someone/tools"
config = "plain"
splits = { train = "train" }
fields = { goal = "question.text" }
options = ["choices.text"]
licence = "invented"
""",
    "rivers": """
name = "rivers"
family = "closed_book_qa"
metric = "exact_match"
prompt = "Question: {question}"
[source]
dataset = "someone/rivers"
splits = { train = "train" }
fields = { question = "question" }
answers = "answer.aliases"
licence = "invented"
""",
}


def weather(number: int) -> dict[str, object]:
    return {
        "id": f"weather-train-{number}",
        "task": "weather",
        "family": "nli",
        "fields": {
            "premise": f"It rained for {number} days.",
            "hypothesis": f"The river rose in week {number}.",
        },
        "choices": ["entailment", "not_entailment"],
        "label": number % 2,
        "answers": [["entailment", "not_entailment"][number % 2]],
    }


def tools(number: int) -> dict[str, object]:
    options = [f"Turn {number} screws.", f"Paint {number} screws."]
    return {
        "id": f"tools-train-{number}",
        "task": "tools",
        "family": "commonsense",
        "fields": {"goal": f"Fix shelf number {number}."},
        "choices": options,
        "label": 0,
        "answers": [options[0]],
    }


def rivers(number: int) -> dict[str, object]:
    return {
        "id": f"rivers-train-{number}",
        "task": "rivers",
        "family": "closed_book_qa",
        "fields": {"question": f"Which river has {number} bridges?"},
        "choices": None,
        "label": None,
        "answers": [f"River {number}", f"Stream {number}"],
    }


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class CountingEncoder:
    """Unit vectors that depend on the text alone; counts the texts it was asked for."""

    name, revision, dimensions = ENCODER.name, ENCODER.revision, DIMENSIONS

    def __init__(self) -> None:
        self.texts = 0

    def embed(self, texts: Sequence[str], /) -> Vectors:
        self.texts += len(texts)
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        vectors = (
            np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)[:, :DIMENSIONS].astype(np.float32)
            - 127.4
        )
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


@pytest.fixture
def card_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "tasks"
    directory.mkdir()
    for name, text in CARDS.items():
        (directory / f"{name}.toml").write_text(text)
    return directory


@pytest.fixture
def cards(card_directory: Path) -> dict[str, TaskCard]:
    return load_cards(card_directory)


@pytest.fixture
def data_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    for name, make in (("weather", weather), ("tools", tools), ("rivers", rivers)):
        write_lines(directory / f"{name}.train.jsonl", [make(number) for number in range(6)])
    return directory


@dataclass(frozen=True)
class SmallLibrary:
    directory: Path
    manifest: Manifest
    rows: list[RenderedExample]


@pytest.fixture
def small_library(tmp_path: Path, data_directory: Path, cards: dict[str, TaskCard]) -> SmallLibrary:
    directory = tmp_path / "roots" / "small"
    for seed, task in enumerate(("weather", "tools")):
        place = directory / "adapters" / task
        place.mkdir(parents=True)
        (place / "adapter_config.json").write_text(json.dumps(CONFIG))
        (place / "adapter_model.safetensors").write_bytes(safetensors_bytes(tensors(seed=seed), "BF16"))
        (place / "card.json").write_text(json.dumps({"seed": seed}))
    rows = [row for path in sorted(data_directory.iterdir()) for row in render_file(path, cards)]
    encoder = CountingEncoder()
    vectors = {row.prompt: encoder.embed([row.prompt])[0] for row in rows}
    manifest = build_library(directory, LibrarySpec(BASE, ENCODER, cards), rows, vectors)
    return SmallLibrary(directory, manifest, rows)
