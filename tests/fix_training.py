"""A task that can be learnt, invented, and a tiny model on disk that learns it."""

import json
from pathlib import Path

import pytest
import torch
from tests.fix_models import byte_tokenizer, tiny_model

from loradex.library.cards import TaskCard

CARD = """
name = "colours"
family = "nli"
metric = "accuracy"
prompt = "{thing}?"
max_prompt_tokens = 64

[choices]
kind = "labels"
normalization = "tokens"
words = { warm = "yes", cold = "no" }

[training]
learning_rate = 0.02
epochs = 2
"""
OPEN_CARD = """
name = "echoes"
family = "closed_book_qa"
metric = "exact_match"
prompt = "Say {word}"
"""
WARM = ("red", "fire", "sun", "ember")
COLD = ("blue", "ice", "snow", "frost")


def colours(number: int) -> dict[str, object]:
    warm = number % 2 == 0
    thing = (WARM if warm else COLD)[number // 2 % 4]
    return {
        "id": f"colours-train-{number}",
        "task": "colours",
        "family": "nli",
        "fields": {"thing": f"{thing} {number}"},
        "choices": ["cold", "warm"],
        "label": int(warm),
        "answers": ["warm" if warm else "cold"],
    }


def echoes(number: int) -> dict[str, object]:
    return {
        "id": f"echoes-train-{number}",
        "task": "echoes",
        "family": "closed_book_qa",
        "fields": {"word": f"w{number}"},
        "choices": None,
        "label": None,
        "answers": ["w"],
    }


# As `OPEN_CARD`, with an answer of few words that may be right in part.
PARTLY_CARD = OPEN_CARD.replace('"exact_match"', '"f1"') + "answer_tokens = 5\n"


def card_of(text: str) -> TaskCard:
    import tomllib  # noqa: PLC0415

    return TaskCard.model_validate(tomllib.loads(text))


def write_data(directory: Path, rows: int = 60) -> Path:
    """Examples and cards of both tasks: `directory`/data, `directory`/cards."""
    for folder in ("data", "cards"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    for name, make, card in (("colours", colours, CARD), ("echoes", echoes, OPEN_CARD)):
        lines = "".join(json.dumps(make(number)) + "\n" for number in range(rows))
        (directory / "data" / f"{name}.train.jsonl").write_text(lines)
        (directory / "cards" / f"{name}.toml").write_text(card)
    return directory


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama in Hugging Face form."""
    directory = tmp_path_factory.mktemp("tiny-base")
    tiny_model("llama", torch.float32).save_pretrained(directory)
    byte_tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """A directory with `data` and `cards` of two invented tasks."""
    return write_data(tmp_path)
