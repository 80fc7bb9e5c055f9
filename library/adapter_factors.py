"""The factors in an adapter's weights: paired by module, held against config and base model, and measured."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_config import LoraSettings
from loradex.library.safetensors_file import SafetensorsError, TensorEntry, as_float32, read_header

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
PREFIX = "base_model.model."
FACTOR = re.compile(re.escape(PREFIX) + r"(?P<module>[A-Za-z0-9_.]+)\.lora_(?P<side>[AB])\.weight")

Shapes = Mapping[str, tuple[int, ...]]
Factors = Mapping[str, tuple[TensorEntry, TensorEntry]]


def base_model_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """The tensor shapes of a base model's safetensors files, by tensor name; only headers are read."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as stream:
            try:
                entries = read_header(stream, path.stat().st_size)
            except SafetensorsError as error:
                raise AdapterRefusedError(f"{path}: the base model's file is broken: {error}") from error
        shapes |= {name: entry.shape for name, entry in entries.items()}
    return shapes


def paired(entries: Mapping[str, TensorEntry]) -> dict[str, tuple[TensorEntry, TensorEntry]]:
    sides: dict[str, dict[str, TensorEntry]] = {}
    dtypes = {entry.dtype for entry in entries.values()}
    if not entries:
        raise SafetensorsError("it holds no tensors")
    if len(dtypes) > 1 or not dtypes <= DTYPES.keys():
        raise SafetensorsError(
            f"its dtypes are {', '.join(sorted(dtypes))}; one of F32, F16, BF16 must hold for all"
        )
    for name, entry in entries.items():
        match = FACTOR.fullmatch(name)
        if match is None:
            raise SafetensorsError(f"tensor {name!r} is not a lora_A or lora_B of a linear module")
        sides.setdefault(match["module"], {})[match["side"]] = entry
    for module, found in sides.items():
        if len(found) == 1:
            raise SafetensorsError(f"module {module!r} has lora_{next(iter(found))} alone")
    return {module: (found["A"], found["B"]) for module, found in sides.items()}


def check_targets(modules: Mapping[str, object], settings: LoraSettings) -> None:
    for module in modules:
        if not any(_is_target(module, name) for name in settings.target_modules):
            raise SafetensorsError(f"module {module!r} is in no target_modules")
    for name in settings.target_modules:
        if not any(_is_target(module, name) for module in modules):
            raise SafetensorsError(f"the target module {name!r} has no tensors")


def _is_target(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def check_shapes(
    modules: Mapping[str, tuple[TensorEntry, TensorEntry]], settings: LoraSettings, base_shapes: Shapes | None
) -> None:
    rank = settings.rank
    for module, (a, b) in modules.items():
        match a.shape, b.shape:
            case (int(rank_a), int(d_in)), (int(d_out), int(rank_b)) if (
                rank_a == rank_b == rank and d_in and d_out
            ):
                pass
            case _:
                raise SafetensorsError(
                    f"module {module!r}: lora_A {list(a.shape)} and lora_B {list(b.shape)} "
                    f"do not fit rank {rank}"
                )
        if base_shapes is not None and base_shapes.get(f"{module}.weight") != (d_out, d_in):
            raise SafetensorsError(
                f"module {module!r} is for a weight of {[d_out, d_in]}, "
                f"the base model has {list(base_shapes.get(f'{module}.weight', ())) or 'none of that name'}"
            )


def update_norm(
    content: bytes, modules: Mapping[str, tuple[TensorEntry, TensorEntry]], settings: LoraSettings
) -> tuple[float, int]:
    """The norm of the whole update and how many weights it touches; ‖BA‖² = trace(BᵀB · AAᵀ), in float64."""
    squares, touched = 0.0, 0
    for a, b in modules.values():
        factors = []
        for entry in (a, b):
            values = as_float32(content, entry)
            if not np.isfinite(values).all():
                raise SafetensorsError(f"tensor {entry.name!r} holds NaN or infinity")
            factors.append(values.astype(np.float64))
        down, up = factors
        squares += float(np.sum((up.T @ up) * (down @ down.T).T))
        touched += a.shape[1] * b.shape[0]
    return settings.scaling * max(squares, 0.0) ** 0.5, touched
