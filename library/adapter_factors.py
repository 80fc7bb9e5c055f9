"""The factors in an adapter's weights: paired by module, held against config and base model, and measured."""

import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from loradex.library.adapter_config import LoraSettings
from loradex.library.adapter_forms import Form
from loradex.library.module_sizes import Size, size_of
from loradex.library.safetensors_file import SafetensorsError, TensorEntry, as_float32

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
PREFIX = "base_model.model."
# Names are bounded, since patterns are matched against them.
MODULE = re.compile(r"[A-Za-z0-9_.]{1,512}")

Tensors = Mapping[str, tuple[TensorEntry, ...]]
"""Of each module its tensors, in the order of its form's parts."""


def paired(entries: Mapping[str, TensorEntry], form: Form) -> dict[str, tuple[TensorEntry, ...]]:
    """The tensors of each module; `SafetensorsError` for any other tensor, one that is missing, or mixed dtypes."""
    found: dict[str, dict[str, TensorEntry]] = {}
    dtypes = {entry.dtype for entry in entries.values()}
    if not entries:
        raise SafetensorsError("it holds no tensors")
    if len(dtypes) > 1 or not dtypes <= DTYPES.keys():
        raise SafetensorsError(
            f"its dtypes are {', '.join(sorted(dtypes))}; one of F32, F16, BF16 must hold for all"
        )
    for name, entry in entries.items():
        place = place_of(name, form)
        if place is None:
            raise SafetensorsError(_why_not(name))
        module, part = place
        found.setdefault(module, {})[part] = entry
    for module, parts in found.items():
        if len(parts) < len(form.parts):
            given = ", ".join(part.removesuffix(".weight") for part in parts)
            raise SafetensorsError(f"module {module!r} has {given} alone")
    return {module: tuple(parts[part] for part in form.parts) for module, parts in found.items()}


def place_of(name: str, form: Form) -> tuple[str, str] | None:
    """The module and the part that a tensor is; None if it is no tensor of the form."""
    for part in form.parts:
        module = name.removeprefix(PREFIX).removesuffix(f".{part}")
        if name == f"{PREFIX}{module}.{part}" and MODULE.fullmatch(module):
            return module, part
    return None


def _why_not(name: str) -> str:
    """What a tensor is that is not a factor, and what would make the adapter acceptable."""
    if name.endswith(".base_layer.weight"):
        return (
            f"tensor {name!r} is a copy of the base model's own weights; "
            "save the adapter with save_pretrained(..., save_embedding_layers=False)"
        )
    if ".lora_embedding_" in name:
        return f"tensor {name!r} updates an embedding; leave embeddings out of target_modules"
    if ".lora_magnitude_vector" in name:
        return f"tensor {name!r} belongs to DoRA, whose updates do not add up; train with use_dora=False"
    if ".modules_to_save." in name:
        return f"tensor {name!r} is a whole trained module; train without modules_to_save"
    return f"tensor {name!r} is not a lora_A or lora_B of a linear module"


def targets_of(modules: Iterable[str], settings: LoraSettings) -> tuple[str, ...]:
    """The names in `target_modules` that have factors; where a pattern chose, the last parts of modules' names.

    Raises:
        SafetensorsError: Factors of a module that the config does not name, which PEFT would leave out.
    """
    if settings.targets is None:
        return tuple(sorted({module.rpartition(".")[2] for module in modules}))
    used = set()
    for module in modules:
        named = [name for name in _ends(module) if name in settings.targets]
        if not named:
            raise SafetensorsError(f"module {module!r} is in no target_modules")
        used.update(named)
    return tuple(name for name in settings.targets if name in used)


def _ends(module: str) -> Iterator[str]:
    """`a.b.c`, `b.c` and `c`: what a target may be called."""
    while module:
        yield module
        module = module.partition(".")[2]


def check_shapes(modules: Tensors, settings: LoraSettings, sizes: Mapping[str, Size] | None) -> None:
    """Raises `SafetensorsError` unless all tensors have their module's rank and fit the base model's weights."""
    for module, parts in modules.items():
        rank = settings.rank_of(module)
        found = settings.form.sizes([entry.shape for entry in parts], rank)
        if found is None:
            shown = " and ".join(
                f"{part.removesuffix('.weight')} {list(entry.shape)}"
                for part, entry in zip(settings.form.parts, parts, strict=True)
            )
            raise SafetensorsError(f"module {module!r}: {shown} do not fit rank {rank}")
        if sizes is None:
            continue
        held = size_of(module, sizes)
        if held != found and not (settings.transposed and held == found[::-1]):
            raise SafetensorsError(
                f"module {module!r} is for a weight of {list(found)}, "
                f"the base model has {list(held or ()) or 'none of that name'}"
            )


def update_norm(content: bytes, modules: Tensors, settings: LoraSettings) -> tuple[float, int]:
    """The norm of the whole update and how many weights it touches; ‖BA‖² = trace(BᵀB · AAᵀ), in float64."""
    squares, touched = 0.0, 0
    for module, parts in modules.items():
        tensors = []
        for entry in parts:
            values = as_float32(content, entry)
            if not np.isfinite(values).all():
                raise SafetensorsError(f"tensor {entry.name!r} holds NaN or infinity")
            tensors.append(values.astype(np.float64))
        down, up = settings.form.factors(tensors)
        squares += settings.scaling_of(module) ** 2 * float(np.sum((up.T @ up) * (down @ down.T).T))
        touched += down.shape[1] * up.shape[0]
    return max(squares, 0.0) ** 0.5, touched
