"""Adapters that began with other base weights are plain LoRAs once PEFT or whoever trained them converted them."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from tests import needs
from tests.fix_models import TinyAdapter, Zoo, byte_tokenizer
from tests.unit.engine.test_exactness import logits

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_files import content_hash, inspect
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.recipe import MERGES, Component, Recipe

TOLERANCE = 1e-5
RANK = 4


def begun(model: Any, **keys: Any) -> Any:
    """A PEFT model whose factors are where they begin."""
    torch.manual_seed(3)
    targets = ["q_proj", "down_proj"]
    lora = LoraConfig(r=RANK, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM", **keys)
    return get_peft_model(copy.deepcopy(model), lora).eval()


def move(tuned: Any) -> None:
    """What training does to factors."""
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)


def answers_as(engine: Engine, directory: Path, tuned: Any) -> None:
    """By every merge, since it is a plain LoRA."""
    one = TinyAdapter("one", directory, content_hash(directory))
    assert inspect(directory, "tiny", engine.bank.sizes, declared=True).rank
    engine.bank.ensure({one.sha256: directory})
    updates, _ = engine.compose(
        [Recipe(merge, 1.0, "float32", (Component(one.sha256, 1.0),)) for merge in MERGES]
    )
    tokens = torch.randint(3, 200, (1, 11))
    with torch.inference_mode():
        wanted = tuned(input_ids=tokens).logits[0]
        for found in logits(engine, tokens.expand(len(MERGES), -1), updates):
            assert (found - wanted).norm() <= TOLERANCE * wanted.norm()


@pytest.mark.parametrize("way", ["pissa", "pissa_niter_2", "olora"])
def test_what_peft_converts_is_a_plain_lora_of_the_base_model(way: str, zoo: Zoo, tmp_path: Path) -> None:
    tuned = begun(zoo.model, init_lora_weights=way)
    tuned.peft_config["default"].init_lora_weights = True
    tuned.save_pretrained(tmp_path / "began")
    tuned.peft_config["default"].init_lora_weights = way
    move(tuned)
    tuned.save_pretrained(tmp_path / "as it is")
    with pytest.raises(AdapterRefusedError, match="path_initial_model_for_weight_conversion"):
        inspect(tmp_path / "as it is", "tiny", declared=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned.save_pretrained(
            tmp_path / "converted", path_initial_model_for_weight_conversion=str(tmp_path / "began")
        )
    answers_as(zoo.engine(), tmp_path / "converted", tuned)


@torch.inference_mode()
def as_loftq_leaves_it(tuned: Any) -> None:
    """LoftQ (arXiv 2310.08659, algorithm 1) of four bits in two rounds; PEFT's own wants a GPU."""
    functional = needs.package("bitsandbytes").functional
    for module in tuned.modules():
        if isinstance(module, Linear):
            weight = module.base_layer.weight.data.clone()
            rest = weight
            for _ in range(2):
                rounded = functional.dequantize_4bit(*functional.quantize_4bit(rest, quant_type="nf4"))
                u, s, v = torch.linalg.svd(weight - rounded)
                b, a = u[:, :RANK] * s[:RANK].sqrt(), s[:RANK].sqrt().unsqueeze(1) * v[:RANK]
                rest = weight - b @ a
            module.base_layer.weight.data = rounded
            module.lora_A["default"].weight.data, module.lora_B["default"].weight.data = a, b


def test_loftq_is_a_plain_lora_of_the_base_model_that_it_left(zoo: Zoo, tmp_path: Path) -> None:
    tuned = begun(zoo.model)
    as_loftq_leaves_it(tuned)
    move(tuned)
    tuned.save_pretrained(tmp_path / "adapter")
    config = tmp_path / "adapter" / "adapter_config.json"
    plain = config.read_text()
    config.write_text(plain.replace('"init_lora_weights": true', '"init_lora_weights": "loftq"'))
    with pytest.raises(AdapterRefusedError, match="register the base model that it left"):
        inspect(tmp_path / "adapter", "tiny", declared=True)
    config.write_text(plain)
    engine = Engine(copy.deepcopy(tuned).unload(), byte_tokenizer(), bank_bytes=1 << 20)
    answers_as(engine, tmp_path / "adapter", tuned)
