"""The starter library's own model and adapters: vLLM writes what our own engine writes, in float32.

`LORADEX_TEST_WHOLE=1` asks 16 prompts for 32 tokens each, and takes minutes; without it a few are asked.
"""

import json
import os
import random
from pathlib import Path

import pytest
from tests.repository import ROOT
from tests.vllm.conftest import answers

from loradex.library.adapter_files import content_hash
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.form import Form
from loradex.worker.engine.load import shipped_model
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.engine import VllmEngine
from loradex.worker.engine.vllm.start import start

LIBRARY = ROOT / "starter" / "loradex_starter" / "smollm2-135m-instruct"
PROMPTS, TOKENS = (16, 32) if os.environ.get("LORADEX_TEST_WHOLE") else (4, 8)
MIXED = 4
BANK_BYTES, ROOM_BYTES = 256 << 20, 400 << 20


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, VllmEngine]:
    path = shipped_model(tmp_path_factory.mktemp("models"))
    ours = Engine.load(path, "cpu", Form("float32"), BANK_BYTES)
    theirs = start(
        path,
        "cpu",
        "float32",
        bank_bytes=BANK_BYTES,
        threads=1,
        room_bytes=ROOM_BYTES,
        max_loras=PROMPTS,
        max_lora_rank=16,
        arguments={"enforce_eager": True, "max_num_seqs": PROMPTS},
    )
    for engine in (ours, theirs):
        engine.bank.ensure(_adapters())
    return ours, theirs


@pytest.mark.parametrize("merge", ["linear", "cat"])
def test_the_same_tokens_for_every_prompt(both: tuple[Engine, VllmEngine], merge: str) -> None:
    ours, theirs = both
    rows = _rows(merge)
    assert len({row.recipe.hash for row in rows}) == PROMPTS
    found, expected = (
        [one.token_ids for one in answers(theirs, rows)],
        [one.token_ids for one in ours.answer(rows)],
    )
    assert sum(one == other for one, other in zip(found, expected, strict=True)) == PROMPTS


def _rows(merge: str) -> list[Row]:
    """Questions of the documentation, each with a mixture of its own."""
    lines = (ROOT / "docs" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    numbers = random.Random(merge)
    asked = numbers.sample([json.loads(line)["prompt"] for line in lines], PROMPTS)
    return [
        Row(
            f"{prompt}\nAnswer:",
            Recipe(
                merge,
                0.5,
                "float32",
                tuple(
                    Component(one, numbers.uniform(0.1, 0.5))
                    for one in numbers.sample(sorted(_adapters()), MIXED)
                ),
            ),
            max_new_tokens=TOKENS,
            min_tokens=TOKENS,
        )
        for prompt in asked
    ]


def _adapters() -> dict[str, Path]:
    return {content_hash(one): one for one in sorted((LIBRARY / "adapters").iterdir())}
