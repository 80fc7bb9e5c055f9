"""What the benchmarks measure on: the base model, 22 adapters, mixtures of four, and questions."""

import json
import random
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import save_file

from loradex.benchmarks.frame import Options
from loradex.library.adapter_files import content_hash
from loradex.library.installed import starter_library
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.form import Form
from loradex.worker.engine.layout import Shape
from loradex.worker.engine.load import load_model, shipped_model
from loradex.worker.engine.modules import shapes_of
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.settings import WorkerSettings

STARTER = starter_library() / "adapters"
ADAPTERS = 22
RANK = 3
MIXED = 4
SUBJECTS = ("a lighthouse", "bread", "the tide", "a violin", "snow", "a bicycle", "glass", "a beehive")
ASKED = (
    "Explain to a child what {} is for, and what would be missed without it.",
    "Write the opening of a short story in which {} changes everything for two neighbours who never talk.",
    "Is {} older than the printing press? Answer yes or no, and then say why you think so.",
)


def model_path() -> Path:
    """The base model `LORADEX_BASE_MODEL_PATH` names, else the shipped one."""
    settings = WorkerSettings()
    if settings.base_model_path:
        return Path(settings.base_model_path)
    return shipped_model(settings.home / "cache" / "models")


def engine(options: Options, bank_bytes: int = 256 << 20, ends: frozenset[int] | None = None) -> Engine:
    """The engine on the shipped base model; `ends` empty lets every row write all its tokens."""
    model, tokenizer = base(options)
    return Engine(model, tokenizer, bank_bytes=bank_bytes, ends=ends)


def base(options: Options) -> tuple[Any, Any]:
    return load_model(model_path(), torch.device(options.device), Form(options.dtype))


def adapters(options: Options) -> tuple[dict[str, Path], str]:
    """Directories by content hash, and what they are: the starter library's, or random ones of its shape."""
    found = sorted(path.parent for path in STARTER.glob("**/adapter_config.json"))
    if found:
        return {
            content_hash(path): path for path in found
        }, f"the {len(found)} adapters of the starter library"
    shapes = {name: shape for name, shape in shapes_of(base(options)[0]).items() if "lm_head" not in name}
    root = Path(tempfile.mkdtemp(prefix="loradex-bench-"))
    made = [random_adapter(root / f"a{seed}", shapes, seed) for seed in range(ADAPTERS)]
    return {
        content_hash(path): path for path in made
    }, f"{ADAPTERS} random adapters, rank {RANK}, all linear modules"


def random_adapter(directory: Path, shapes: Mapping[str, Shape], seed: int) -> Path:
    """A PEFT directory with small random factors."""
    numbers = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = (
            torch.randn(RANK, shape.d_in, generator=numbers) * 0.03
        )
        tensors[f"base_model.model.{name}.lora_B.weight"] = (
            torch.randn(shape.d_out, RANK, generator=numbers) * 0.01
        )
    directory.mkdir(parents=True)
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    write_config(directory, sorted({name.rsplit(".", 1)[-1] for name in shapes}), 2 * RANK)
    return directory


def write_config(directory: Path, targets: Sequence[str], alpha: float) -> None:
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "smollm2-135m-instruct",
    }
    settings = {"r": RANK, "lora_alpha": alpha, "target_modules": list(targets), "bias": "none"}
    (directory / "adapter_config.json").write_text(json.dumps(config | settings))


def fill_bank(engine: Engine, recipes: Iterable[Recipe]) -> None:
    """Brings in what these recipes need one by one, so that what a batch of them takes is its own."""
    for recipe in recipes:
        engine.compose([recipe])


def mixtures(method: str, hashes: Sequence[str], count: int, dtype: str, seed: int = 0) -> list[Recipe]:
    """Recipes of four adapters each, all different, with falling weights that sum to 1."""
    numbers = random.Random(seed)  # noqa: S311 - the same mixtures every time
    return [
        Recipe(
            method,
            0.5,
            dtype,
            tuple(
                Component(sha256, weight)
                for sha256, weight in zip(
                    numbers.sample(list(hashes), MIXED), (0.4, 0.3, 0.2, 0.1), strict=True
                )
            ),
        )
        for _ in range(count)
    ]


def prompts(count: int) -> list[str]:
    return [
        f"{ASKED[place % len(ASKED)].format(SUBJECTS[place % len(SUBJECTS)])}\nAnswer:"
        for place in range(count)
    ]


def questions(recipes: Sequence[Recipe], tokens: int) -> list[Row]:
    return [
        Row(prompt, recipe, max_new_tokens=tokens)
        for prompt, recipe in zip(prompts(len(recipes)), recipes, strict=True)
    ]


def peft_model(options: Options, directories: Mapping[str, Path]) -> PeftModel:
    """PEFT's own model with every adapter loaded, under its content hash."""
    model, _ = base(options)
    (first, directory), *others = directories.items()
    loaded = PeftModel.from_pretrained(model, directory, adapter_name=first)
    for sha256, path in others:
        loaded.load_adapter(path, adapter_name=sha256)
    return loaded.eval()


def peft_merge(model: PeftModel, recipe: Recipe) -> None:
    """Merges a recipe with `add_weighted_adapter` and puts it in force, in place of the one before."""
    if "mix" in model.peft_config:
        model.set_adapter(recipe.components[0].sha256)
        model.delete_adapter("mix")
    model.add_weighted_adapter(
        [part.sha256 for part in recipe.components],
        [part.weight for part in recipe.components],
        "mix",
        combination_type=recipe.merge,
        density=recipe.density,
    )
    model.set_adapter("mix")
