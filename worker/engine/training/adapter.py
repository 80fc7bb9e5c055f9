"""The finished adapter: a PEFT directory and its card, put in place whole."""

import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import save_file

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
