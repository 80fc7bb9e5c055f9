"""Adapters of other kinds than a plain LoRA, and with other names and scales, compose to what PEFT makes of them."""

import copy
import dataclasses
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoraConfig, PeftModel, get_peft_model
from tests.fix_models import TinyAdapter, Zoo, tiny_model
from tests.unit.engine.test_exactness import assert_same, engine_deltas

from loradex.errors import InvalidArgumentError
from loradex.library.adapter_files import content_hash, inspect
from loradex.worker.engine.compose import check
from loradex.worker.engine.recipe import MERGES, Component, Recipe


def changed(directory: Path, to: Path, **keys: Any) -> str:
    """A copy of an adapter whose config says otherwise; its content hash."""
    shutil.copytree(directory, to)
    path = to / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    return content_hash(to)


@pytest.mark.parametrize("method", MERGES)
def test_rslora_composes_with_its_own_scale(method: str, zoo: Zoo, tmp_path: Path) -> None:
    """alpha / sqrt(r): with rank 4, half the alpha is the scale of the plain one (arXiv 2312.03732)."""
    plain, other = zoo.even[0], zoo.even[1]
    alpha = json.loads((plain.directory / "adapter_config.json").read_text())["lora_alpha"]
    sha256 = changed(plain.directory, tmp_path / "rs", use_rslora=True, lora_alpha=alpha / 2)
    engine = zoo.engine()
    engine.bank.ensure({sha256: tmp_path / "rs"})
    recipe = Recipe(method, 0.5, "float32", (Component(plain.sha256, 0.75), Component(other.sha256, -0.5)))
    twin = dataclasses.replace(recipe, components=(Component(sha256, 0.75), recipe.components[1]))
    factors, _ = engine.compose([recipe, twin])
    expected, got = (engine_deltas(engine, factors, row) for row in range(2))
    assert all(torch.equal(got[name], delta) for name, delta in expected.items())


@pytest.fixture(scope="module")
def loha(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyAdapter, ...]:
    """Two LoHas of unequal ranks and alphas, saved by PEFT."""
    return tuple(save_loha(zoo, tmp_path_factory.mktemp("loha") / f"h{seed}", seed) for seed in (1, 2))


def save_loha(zoo: Zoo, directory: Path, seed: int) -> TinyAdapter:
    torch.manual_seed(seed)
    config = LoHaConfig(
        r=seed + 1,
        alpha=5 - seed,
        target_modules=["q_proj", "down_proj"],
        rank_pattern={"down_proj": 4},
        alpha_pattern={"layers.0.mlp.down_proj": 9},
        init_weights=False,
        task_type="CAUSAL_LM",
    )
    tuned = get_peft_model(copy.deepcopy(zoo.model), config)
    for name, parameter in tuned.named_parameters():
        if "hada_" in name:
            parameter.data = torch.randn_like(parameter) * 0.3
    tuned.save_pretrained(directory)
    return TinyAdapter(directory.name, directory, content_hash(directory))


def own_deltas(zoo: Zoo, adapter: TinyAdapter) -> dict[str, torch.Tensor]:
    """What PEFT adds to each module for an adapter alone, as `[d_out, d_in]`."""
    tuned = PeftModel.from_pretrained(copy.deepcopy(zoo.model), adapter.directory, adapter_name=adapter.name)
    return {
        name.removeprefix("base_model.model."): module.get_delta_weight(adapter.name).detach()
        for name, module in tuned.named_modules()
        if hasattr(module, "get_delta_weight")
    }


def weighted(parts: dict[str, torch.Tensor], weight: float) -> dict[str, torch.Tensor]:
    return {name: weight * delta for name, delta in parts.items()}


def added(*parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: sum((part[name] for part in parts if name in part), torch.zeros(()))
        for name in {name for part in parts for name in part}
    }


@pytest.mark.parametrize("calibrated", [False, True])
def test_loha_is_exact_under_cat_beside_loras_too(
    zoo: Zoo, loha: tuple[TinyAdapter, ...], calibrated: bool
) -> None:
    engine = zoo.engine()
    engine.bank.ensure({one.sha256: one.directory for one in loha})
    mixed, weights = (*loha, zoo.all[5], zoo.even[2]), (0.5, -0.25, 0.75, 1.0)
    recipe = Recipe(
        "cat",
        1.0,
        "float32",
        tuple(Component(one.sha256, weight) for one, weight in zip(mixed, weights, strict=True)),
        calibrated,
    )
    updates, (report,) = engine.compose([recipe])
    alone = [own_deltas(zoo, one) for one in mixed]
    total = added(*(weighted(delta, weight) for delta, weight in zip(alone, weights, strict=True)))
    norms = [float(sum(delta.norm() ** 2 for delta in one.values()) ** 0.5) for one in alone]
    norm = float(sum(delta.norm() ** 2 for delta in total.values()) ** 0.5)
    promised = sum(abs(weight) * own for weight, own in zip(weights, norms, strict=True))
    assert_same(engine_deltas(engine, updates, 0), weighted(total, promised / norm if calibrated else 1.0))
    assert report.component_norms == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("method", MERGES)
def test_loha_alone_is_itself_under_every_merge_and_is_mixed_by_cat_alone(
    method: str, zoo: Zoo, loha: tuple[TinyAdapter, ...]
) -> None:
    engine, one = zoo.engine(), loha[0]
    engine.bank.ensure({each.sha256: each.directory for each in loha})
    updates, _ = engine.compose([Recipe(method, 0.5, "float32", (Component(one.sha256, 0.75),))])
    assert_same(engine_deltas(engine, updates, 0), weighted(own_deltas(zoo, one), 0.75))
    pair = Recipe(method, 0.5, "float32", tuple(Component(each.sha256, 0.5) for each in loha))
    if method == "cat":
        check(engine.bank, pair)
    else:
        with pytest.raises(InvalidArgumentError, match=f"{method} is not defined for the kind .* use cat"):
            check(engine.bank, pair)


@pytest.mark.parametrize("initial", ["pissa", "olora"])
@pytest.mark.parametrize("method", MERGES)
def test_what_peft_converted_is_a_plain_lora(
    initial: str, method: str, zoo: Zoo, converted: dict[str, TinyAdapter]
) -> None:
    """Its update is that of the trained model, beside the base model as it was before the initialisation."""
    one, engine = converted[initial], zoo.engine()
    engine.bank.ensure({one.sha256: one.directory})
    updates, _ = engine.compose([Recipe(method, 0.5, "float32", (Component(one.sha256, 1.0),))])
    assert_same(engine_deltas(engine, updates, 0), own_deltas(zoo, one))


@pytest.fixture(scope="module")
def converted(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyAdapter]:
    """Adapters whose initialisation changed the base weights, trained a little and saved as PEFT advises."""
    return {kind: save_converted(kind, tmp_path_factory.mktemp(kind)) for kind in ("pissa", "olora")}


def save_converted(kind: str, root: Path) -> TinyAdapter:
    base = tiny_model("llama")
    tuned = get_peft_model(
        copy.deepcopy(base), LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj"], init_lora_weights=kind)
    )
    tuned.peft_config["default"].init_lora_weights = True
    tuned.save_pretrained(root / "initial")
    tuned.peft_config["default"].init_lora_weights = kind
    ids = torch.arange(40).reshape(2, 20)
    before = base(input_ids=ids).logits
    torch.testing.assert_close(tuned(input_ids=ids).logits, before, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    trained = tuned(input_ids=ids).logits
    with warnings.catch_warnings():
        # While it converts, PEFT loads the initial adapter beside the trained one, and warns of doing so.
        warnings.simplefilter("ignore")
        tuned.save_pretrained(root / "saved", path_initial_model_for_weight_conversion=str(root / "initial"))
    again = PeftModel.from_pretrained(copy.deepcopy(base), root / "saved")
    torch.testing.assert_close(again(input_ids=ids).logits, trained, rtol=1e-3, atol=1e-3)
    assert inspect(root / "saved", "tiny", declared=True).rank == 4
    return TinyAdapter("saved", root / "saved", content_hash(root / "saved"))
