"""The factors in an adapter's weights: paired by module, held against config and base model, and measured."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from loradex.library.adapter_config import LoraSettings
from loradex.library.adapter_extras import EXTRAS
from loradex.library.adapter_forms import Form
from loradex.library.module_sizes import Size, size_of
from loradex.library.safetensors_file import SafetensorsError, TensorEntry, as_float32

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
PREFIX = "base_model.model."
# Names are bounded, since patterns are matched against them.
MODULE = re.compile(r"[A-Za-z0-9_.]{1,512}")

Tensors = Mapping[str, tuple[TensorEntry, ...]]
"""Of each module its tensors, in the order of its form's parts."""


@dataclass(frozen=True)
class Contents:
    """What an adapter's weights hold.

    Attributes:
        factors: Of each module its factors, in the order of its form's parts.
        extras: Of each module what lies beside them, by its name in `EXTRAS`.
    """

    factors: Tensors
    extras: Mapping[str, Mapping[str, TensorEntry]]

    @property
    def more(self) -> bool:
        """Whether anything beside the factors changes the model."""
        return any(name != "copy" for extras in self.extras.values() for name in extras)

    @property
    def dtype(self) -> str:
        """That of the factors, as the file calls it; where there are none, that of an extra."""
        if self.factors:
            return next(iter(self.factors.values()))[0].dtype
        return next(entry.dtype for extras in self.extras.values() for entry in extras.values())

    @property
    def modules(self) -> Iterable[str]:
        """Those that were trained."""
        return self.factors or self.extras


def paired(entries: Mapping[str, TensorEntry], settings: LoraSettings) -> Contents:
    """The tensors of each module; `SafetensorsError` for any other, one that is missing, or factors of mixed dtypes."""
    form = settings.form
    found: dict[str, dict[str, TensorEntry]] = {}
    extras: dict[str, dict[str, TensorEntry]] = {}
    if not entries:
        raise SafetensorsError("it holds no tensors")
    for name, entry in entries.items():
        place = place_of(name, form)
        if place is None:
            raise SafetensorsError(_why_not(name))
        module, part = place
        if part in EXTRAS and part not in settings.extras:
            raise SafetensorsError(f"tensor {name!r} {EXTRAS[part].without}")
        (extras if part in EXTRAS else found).setdefault(module, {})[part] = entry
    dtypes = {entry.dtype for parts in found.values() for entry in parts.values()}
    all_dtypes = {entry.dtype for entry in entries.values()}
    if len(dtypes) > 1 or not all_dtypes <= DTYPES.keys():
        raise SafetensorsError(
            f"its dtypes are {', '.join(sorted(all_dtypes))}; one of F32, F16, BF16 must hold for all factors"
        )
    for module, parts in found.items():
        if len(parts) < len(form.parts):
            given = ", ".join(part.removesuffix(".weight") for part in parts)
            raise SafetensorsError(f"module {module!r} has {given} alone")
        if "magnitude" in settings.extras and "magnitude" not in extras.get(module, {}):
            raise SafetensorsError(f"module {module!r} has no lora_magnitude_vector, and use_dora is set")
    if not found and form.parts:
        raise SafetensorsError(f"it holds no factors ({' and '.join(form.parts)})")
    return Contents(
        {module: tuple(parts[part] for part in form.parts) for module, parts in found.items()}, extras
    )


def place_of(name: str, form: Form) -> tuple[str, str] | None:
    """The module and the part that a tensor is, or the name of the extra; None if it is no tensor of the form."""
    parts = {part: part for part in form.parts} | dict(form.other_names)
    parts |= {part: extra for extra, kind in EXTRAS.items() for part in kind.parts}
    for part in sorted(parts, key=len, reverse=True):
        module = name.removeprefix(PREFIX).removesuffix(f".{part}")
        if name == f"{PREFIX}{module}.{part}" and MODULE.fullmatch(module):
            return module, parts[part]
    return None


def _why_not(name: str) -> str:
    """What a tensor is that is not a factor, and what would make the adapter acceptable."""
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


def check_shapes(contents: Contents, settings: LoraSettings, sizes: Mapping[str, Size] | None) -> None:
    """Raises `SafetensorsError` unless all tensors have their module's rank and fit the base model's weights."""
    made: dict[str, Size] = {}
    for module, parts in contents.factors.items():
        rank = settings.rank_of(module)
        found = settings.form.sizes([entry.shape for entry in parts], rank)
        if found is None:
            shown = " and ".join(
                f"{part.removesuffix('.weight')} {list(entry.shape)}"
                for part, entry in zip(settings.form.parts, parts, strict=True)
            )
            raise SafetensorsError(f"module {module!r}: {shown} do not fit rank {rank}")
        made[module] = found
        if sizes is None:
            continue
        held = size_of(module, sizes)
        if held != found and not (settings.transposed and held == found[::-1]):
            raise SafetensorsError(
                f"module {module!r} is for a weight of {list(found)}, "
                f"the base model has {list(held or ()) or 'none of that name'}"
            )
    for module, extras in contents.extras.items():
        size = made.get(module) or (None if sizes is None else size_of(module, sizes))
        if size is None and sizes is not None:
            raise SafetensorsError(
                f"module {module!r} is no linear module of the base model; of biases only those of linear modules are "
                'composed, which bias = "lora_only" trains'
            )
        for name, entry in extras.items():
            if size is not None and entry.shape not in EXTRAS[name].shapes(*size):
                raise SafetensorsError(
                    f"tensor {entry.name!r} is {list(entry.shape)}, its module's weight {list(size)}"
                )


def update_norm(content: bytes, contents: Contents, settings: LoraSettings) -> tuple[float, int]:
    """The norm of what the factors add and how many weights it touches; ‖BA‖² = trace(BᵀB · AAᵀ), in float64."""
    for extras in contents.extras.values():
        for entry in extras.values():
            _finite(content, entry)
    squares, touched = 0.0, 0
    for module, parts in contents.factors.items():
        tensors = [_finite(content, entry).astype(np.float64) for entry in parts]
        down, up = settings.form.factors(tensors)
        squares += settings.scaling_of(module) ** 2 * float(np.sum((up.T @ up) * (down @ down.T).T))
        touched += down.shape[1] * up.shape[0]
    return max(squares, 0.0) ** 0.5, touched


def _finite(content: bytes, entry: TensorEntry) -> np.ndarray:
    values = as_float32(content, entry)
    if not np.isfinite(values).all():
        raise SafetensorsError(f"tensor {entry.name!r} holds NaN or infinity")
    return values
