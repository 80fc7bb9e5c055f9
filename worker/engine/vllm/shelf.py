"""Mixtures as files, for a vLLM whose model lies in several processes, which no tensor can be handed to."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


class Shelf:
    """Directories of LoRAs as vLLM reads them, each for as long as rows have its mixture. They go with this object."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="loradex-vllm-"))
        self._ended = weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)

    def place(self, name: str) -> Path | None:
        """The directory of a mixture that lies there; None if it does not."""
        path = self._root / name
        return path if path.is_dir() else None

    def put(self, name: str, factors: Mapping[str, tuple[Tensor, Tensor]]) -> Path:
        """Writes a mixture; returns its directory."""
        path = self._root / name
        # Under another name until it is whole.
        draft = self._root / f"{name}.draft"
        try:
            _write(draft, factors)
            return draft.rename(path)
        except BaseException:
            # On a full disk it would keep others out for ever.
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def remove(self, name: str) -> None:
        """No row has the mixture any more."""
        shutil.rmtree(self._root / name, ignore_errors=True)


def _write(directory: Path, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    directory.mkdir(exist_ok=True)
    tensors, rank = tensors_of(factors)
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted(factors),
        "bias": "none",
    }
    (directory / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def tensors_of(factors: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[dict[str, Tensor], int]:
    """The factors by PEFT's names, and the greatest rank. Weights and scalings are in them: alpha over rank is 1."""
    tensors = {}
    for module, (a, b) in factors.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
    return tensors, max(a.shape[0] for a, _ in factors.values())
