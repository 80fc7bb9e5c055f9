"""Adapters that differ from a plain LoRA in names and scales compose as the plain one with the same updates."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.fix_models import Zoo
from tests.unit.engine.test_exactness import engine_deltas

from loradex.library.adapter_files import content_hash
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
