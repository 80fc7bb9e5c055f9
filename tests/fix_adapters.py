"""Adapter directories made without torch: the bytes PEFT would write, or slightly other ones."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CONFIG: Mapping[str, Any] = {
    "alpha_pattern": {},
    "base_model_name_or_path": "someone/Tiny-Llama",
    "bias": "none",
    "init_lora_weights": True,
    "lora_alpha": 4,
    "lora_dropout": 0.0,
    "modules_to_save": None,
    "peft_type": "LORA",
    "peft_version": "0.21.2",
    "r": 2,
    "rank_pattern": {},
    "target_modules": ["q_proj", "down_proj"],
    "task_type": "CAUSAL_LM",
    "use_dora": False,
    "use_rslora": False,
}
SHAPES = {"self_attn.q_proj": (8, 8), "mlp.down_proj": (8, 16)}
LAYERS = 2


def tensors(rank: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 factors for `LAYERS` layers of the modules in `SHAPES`, by PEFT's names."""
    numbers = np.random.default_rng(seed)
    made = {}
    for layer in range(LAYERS):
        for module, (d_out, d_in) in SHAPES.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            made[f"{name}.lora_A.weight"] = numbers.normal(size=(rank, d_in)).astype(np.float32) / 20
            made[f"{name}.lora_B.weight"] = numbers.normal(size=(d_out, rank)).astype(np.float32) / 20
    return made


def safetensors_bytes(arrays: Mapping[str, np.ndarray], dtype: str = "F32") -> bytes:
    """A well-formed file; BF16 takes the upper half of each float32."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, array in arrays.items():
        match dtype:
            case "F16":
                raw = array.astype("<f2").tobytes()
            case "BF16":
                raw = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
            case _:
                raw = array.astype("<f4").tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + body


MakeAdapter = Callable[..., Path]


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Writes an adapter directory; `config` overrides keys, `weights` replaces the bytes of the weights."""

    def make(
        name: str = "adapter",
        *,
        config: Mapping[str, Any] | None = None,
        weights: bytes | None = None,
        seed: int = 0,
    ) -> Path:
        directory = tmp_path / name
        directory.mkdir(parents=True)
        (directory / "adapter_config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
        (directory / "adapter_model.safetensors").write_bytes(
            safetensors_bytes(tensors(seed=seed)) if weights is None else weights
        )
        return directory

    return make
