"""One tiny model in both engines. `make test-vllm` runs what lies here, in an environment with vLLM."""

import importlib.util
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tests.fix_models import TinyAdapter, byte_tokenizer, save_adapter
from transformers import LlamaConfig, LlamaForCausalLM

from loradex.worker.engine.engine import Engine
from loradex.worker.engine.form import Form
from loradex.worker.engine.protocol import AnswerEngine, Event, Failed, Finished, Ticket
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.engine.vllm.engine import VllmEngine
from loradex.worker.engine.vllm.start import start

# Elsewhere, as in `make test`, there is nothing to collect.
collect_ignore_glob = [] if importlib.util.find_spec("vllm") else ["test_*.py"]

CONTEXT = 256
NO_TOKEN = 9999
TINY_VLLM = {"enforce_eager": True, "max_num_seqs": 16, "max_model_len": CONTEXT}
MOST_LORAS = 4
MOST_RANK = 16
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Tiny:
    """A random Llama whose heads are as wide as vLLM's kernels want them, and adapters of rank 4, but the last."""

    path: Path
    adapters: tuple[TinyAdapter, ...]

    def recipe(self, merge: str, seed: int, k: int = 3, *, calibrated: bool = False) -> Recipe:
        """A mixture of k adapters of rank 4."""
        numbers = random.Random(f"{merge}{seed}")
        parts = tuple(
            Component(one.sha256, numbers.uniform(0.2, 0.6)) for one in numbers.sample(self.adapters[:-1], k)
        )
        return Recipe(merge, 0.5, "float32", parts, calibrated)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    root = tmp_path_factory.mktemp("tiny")
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=2 * CONTEXT,
            initializer_range=0.2,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()
    model.save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    adapters = tuple(
        save_adapter(model, root / f"adapter{seed}", seed, r=4, lora_alpha=8, target_modules=targets)
        for seed, targets in enumerate([TARGETS, TARGETS, TARGETS[:4], TARGETS[4:], ["q_proj", "down_proj"]])
    )
    wide = save_adapter(model, root / "wide", 9, r=32, lora_alpha=8, target_modules=TARGETS)
    return Tiny(root / "base", (*adapters, wide))


@pytest.fixture(scope="session")
def ours(tiny: Tiny) -> Engine:
    engine = Engine.load(tiny.path, "cpu", Form("float32"), 64 << 20)
    engine.bank.ensure({one.sha256: one.directory for one in tiny.adapters})
    return engine


@pytest.fixture(scope="session")
def theirs(tiny: Tiny) -> VllmEngine:
    # Its files also name an end that is none of its tokens.
    path = shutil.copytree(tiny.path, tiny.path.parent / "theirs")
    told = json.loads((path / "generation_config.json").read_text(encoding="utf-8"))
    told["eos_token_id"] = [told["eos_token_id"], NO_TOKEN]
    (path / "generation_config.json").write_text(json.dumps(told), encoding="utf-8")
    engine = start(
        path,
        "cpu",
        "float32",
        bank_bytes=64 << 20,
        threads=1,
        room_bytes=64 << 20,
        max_loras=MOST_LORAS,
        max_lora_rank=MOST_RANK,
        arguments=TINY_VLLM,
    )
    engine.bank.ensure({one.sha256: one.directory for one in tiny.adapters})
    return engine


def events_of(engine: AnswerEngine, rows: list[Row]) -> Iterator[Event]:
    """All that is heard of rows that are added at once, numbered from 0."""
    for ticket, row in enumerate(rows):
        engine.add(ticket, row, {})
    left: set[Ticket] = set(range(len(rows)))
    while left:
        for event in engine.step():
            if isinstance(event, Finished | Failed):
                left.remove(event.ticket)
            yield event


def answers(engine: AnswerEngine, rows: list[Row]) -> list[RowResult]:
    """Their answers, none of which fails."""
    found: dict[Ticket, RowResult] = {}
    for event in events_of(engine, rows):
        assert not isinstance(event, Failed), event
        if isinstance(event, Finished):
            found[event.ticket] = event.result
    return [found[ticket] for ticket in range(len(rows))]
