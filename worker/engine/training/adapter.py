"""The finished adapter: a PEFT directory and its card, put in place whole."""

import json
import os
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from loradex.bounded_file import bounded_text
from loradex.errors import TrainingDataError

MAX_BYTES = 1 << 20
PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors")


def write(model: Any, card: dict[str, Any], directory: Path) -> None:
    """Write `adapter_config.json`, `adapter_model.safetensors` in bf16 and `card.json`, for older ones."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    factors = {
        name: value.detach().to("cpu", torch.bfloat16).contiguous()
        for name, value in sorted(get_peft_model_state_dict(model, save_embedding_layers=False).items())
    }
    save_file(factors, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"]
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)
    config.save_pretrained(str(temporary))
    settled = json.loads((temporary / "adapter_config.json").read_text())
    settled["target_modules"] = sorted(settled["target_modules"])
    (temporary / "adapter_config.json").write_text(json.dumps(settled, indent=2, sort_keys=True) + "\n")
    (temporary / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    temporary.replace(directory)


def earlier(directory: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """The card of an adapter of the same task that a run may start from.

    Args:
        directory: The adapter.
        card: What the new run's card will say: its task, base model, data and settings.

    Raises:
        TrainingDataError: There is none, or it is of another task, base model, shape or split. With another
            split it has seen rows that are now held out.
    """
    try:
        found: dict[str, Any] = json.loads(bounded_text(directory / "card.json", MAX_BYTES))
        differs = [
            name
            for name, mine, its in (
                ("task", card["task"], found["task"]),
                ("base model", card["base_model"], found["base_model"]),
                # Cards of before do not say it.
                (
                    "revision of the base model",
                    card["base_model_revision"],
                    found.get("base_model_revision", card["base_model_revision"]),
                ),
                ("training file", card["data"]["file_sha256"], found["data"]["file_sha256"]),
                *(
                    (part, card["settings"][part], found["settings"][part])
                    for part in ("seed", "rank", "alpha")
                ),
            )
            if mine != its
        ]
    except (OSError, KeyError, TypeError, AttributeError, ValueError):
        raise TrainingDataError(f"{directory}: no adapter that loradex train made") from None
    if differs:
        raise TrainingDataError(
            f"{directory}: trained with another {', '.join(differs)}; train from fresh factors"
        )
    return found


def put(model: Any, directory: Path) -> None:
    """Give the model the factors of a saved adapter of the same shape.

    Raises:
        TrainingDataError: They are not there, or for other layers.
    """
    try:
        outcome = set_peft_model_state_dict(model, load_file(directory / "adapter_model.safetensors"))
    except (OSError, SafetensorError) as error:
        raise TrainingDataError(f"{directory}: its factors cannot be read: {error}") from None
    except RuntimeError:  # Of a size that does not fit; PyTorch says so in a page of lines.
        outcome = None
    if outcome is None or outcome.unexpected_keys:
        raise TrainingDataError(f"{directory}: its factors are for other layers; train from fresh factors")


def versions() -> dict[str, str]:
    """Versions of what makes the numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def hardware(device: torch.device) -> dict[str, str | int]:
    """What it ran on."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "threads": torch.get_num_threads()}
    return {
        "device": f"cpu {platform.machine()}",
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
    }
