"""The factors in an adapter's weights: paired by module, held against config and base model, and measured."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from loradex.library.adapter_config import LoraSettings
from loradex.library.adapter_extras import EXTRAS
from loradex.library.adapter_forms import Form
from loradex.library.module_sizes import Size, size_of
from loradex.library.safetensors_file import SafetensorsError, TensorEntry, as_float32

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
PREFIX = "base_model.model."
SAVE_AGAIN = "save it again with PEFT's save_pretrained"
# Names are bounded, since patterns are matched against them.
MODULE = re.compile(r"[A-Za-z0-9_.]{1,512}")

WITHOUT_FACTORS = frozenset({"gate", "whole", "words"})
"""Extras that make an adapter, where there are no factors."""

NEED_FACTORS = frozenset({"magnitude", "update bias"})
"""Extras that say something of a module's factors."""

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
        raise SafetensorsError(f"it holds no tensors; {SAVE_AGAIN}")
    for name, entry in entries.items():
        module, part = _named(name, settings)
        parts = (extras if part in EXTRAS else found).setdefault(module, {})
        if part in parts:
            raise SafetensorsError(
                f"tensors {parts[part].name!r} and {name!r} are one part of a module; take one of the two out"
            )
        parts[part] = entry
    dtypes = {entry.dtype for parts in found.values() for entry in parts.values()}
    all_dtypes = {entry.dtype for entry in entries.values()}
    if len(dtypes) > 1 or not all_dtypes <= DTYPES.keys():
        raise SafetensorsError(
            f"its dtypes are {', '.join(sorted(all_dtypes))}; save it with one of F32, F16, BF16 for all "
            "factors"
        )
    for module, parts in found.items():
        if len(parts) < len(form.parts):
            given = ", ".join(part.removesuffix(".weight") for part in parts)
            raise SafetensorsError(f"module {module!r} has {given} alone; {SAVE_AGAIN}")
        if "magnitude" in settings.extras and "magnitude" not in extras.get(module, {}):
            raise SafetensorsError(
                f"module {module!r} has no lora_magnitude_vector, and use_dora is set; {SAVE_AGAIN}, "
                "or set it to false"
            )
    for module, beside in extras.items():
        _require_whole(module, beside.keys(), has_factors=module in found)
    if not found and not any(WITHOUT_FACTORS & parts.keys() for parts in extras.values()):
        raise SafetensorsError(f"it holds no factors ({' and '.join(form.parts)}); {SAVE_AGAIN}")
    return Contents(
        {module: tuple(parts[part] for part in form.parts) for module, parts in found.items()}, extras
    )


def _require_whole(module: str, extras: Collection[str], *, has_factors: bool) -> None:
    """`SafetensorsError` where extras lack the factors that they belong to, or would change each other."""
    if not has_factors and not NEED_FACTORS.isdisjoint(extras):
        (first, *_) = (EXTRAS[name].parts[0] for name in EXTRAS if name in NEED_FACTORS.intersection(extras))
        raise SafetensorsError(
            f"module {module!r} has {first.removesuffix('.weight')} and no factors; {SAVE_AGAIN}"
        )
    if "magnitude" in extras and not {"words", "whole"}.isdisjoint(extras):
        raise SafetensorsError(
            f"module {module!r} has a magnitude of DoRA, and its weight was trained beside it; train it without one of "
            "the two"
        )


def _named(name: str, settings: LoraSettings) -> tuple[str, str]:
    """The module and the part that a tensor is, as `place_of` says; `SafetensorsError` where the config forbids it."""
    place = place_of(name, settings.form)
    if not name.startswith(PREFIX):
        raise SafetensorsError(f"tensor {name!r} does not begin with {PREFIX!r}, as PEFT's do; {SAVE_AGAIN}")
    if place is None:
        raise SafetensorsError(
            f"tensor {name!r} is not a lora_A or lora_B of a linear module; train it without, or take it out"
        )
    module, part = place
    if part in EXTRAS and part not in settings.extras:
        raise SafetensorsError(f"tensor {name!r} {EXTRAS[part].without}")
    if part == "whole" and not any(name in module.split(".") for name in settings.whole):
        raise SafetensorsError(
            f"tensor {name!r} is of a module that modules_to_save does not name; name it there, or {SAVE_AGAIN}"
        )
    if settings.invoked_by and "lora_embedding" in name:
        raise SafetensorsError(
            f"tensor {name!r} is of an embedding, which alora_invocation_tokens do not switch on; train it without"
        )
    return module, part


def place_of(name: str, form: Form) -> tuple[str, str] | None:
    """The module and the part that a tensor is, or the name of the extra; None if it is no tensor of the form."""
    parts = {part: part for part in form.parts} | dict(form.other_names)
    parts |= {part: extra for extra, kind in EXTRAS.items() for part in kind.parts}
    for part in sorted(parts, key=len, reverse=True):
        module = name.removeprefix(PREFIX).removesuffix(f".{part}")
        if name == f"{PREFIX}{module}.{part}" and MODULE.fullmatch(module):
            return module, parts[part]
    return None


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
            raise SafetensorsError(
                f"module {module!r} is in no target_modules, so PEFT leaves it out; name it there, or take "
                "its tensors out"
            )
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
            raise SafetensorsError(
                f"module {module!r}: {shown} do not fit rank {rank}; set r or rank_pattern as it was trained"
            )
        made[module] = found
        if sizes is None:
            continue
        held = size_of(module, sizes)
        if held != found:
            raise SafetensorsError(
                f"module {module!r} is for a weight of {list(found)}, "
                f"the base model has {list(held or ()) or 'none of that name'}; "
                "register it for the model it was trained on"
            )
    for module, extras in contents.extras.items():
        size = made.get(module) or (None if sizes is None else size_of(module, sizes))
        if size is None and sizes is not None:
            raise SafetensorsError(
                f"module {module!r} is no linear module of the base model, nor a norm with a bias; train it with "
                'bias = "lora_only"'
                if "bias" in extras
                else f"module {module!r} is no linear module of the base model; register it for the model it was "
                "trained on"
            )
        for name, entry in extras.items():
            words = len(settings.words.of_module(module))
            if size is not None and entry.shape not in EXTRAS[name].shapes(*size, words):
                raise SafetensorsError(
                    f"tensor {entry.name!r} is {list(entry.shape)}, its module's weight {list(size)}"
                    + (f" and {words} words are named" if name == "words" else "")
                    + "; register it for the model it was trained on"
                )
            if name == "words" and size is not None:
                _check_words(module, size, entry.shape, settings)


def _check_words(module: str, size: Size, shape: tuple[int, ...], settings: LoraSettings) -> None:
    """Raises `SafetensorsError` for words that an embedding of this size, or a head, does not have."""
    d_out, d_in = size
    known, words = d_in if shape[1] == d_out else d_out, settings.words.of_module(module)
    if not words:
        raise SafetensorsError(
            f"module {module!r} has vectors of words, and trainable_token_indices names none of it; {SAVE_AGAIN}"
        )
    last = max(words)
    if last >= known:
        raise SafetensorsError(
            f"module {module!r} has {known} words, and trainable_token_indices names word {last}; register it for the "
            "model it was trained on, with as many words"
        )


def rank_of(contents: Contents, settings: LoraSettings) -> int:
    """The largest rank of its modules' updates; trained words make one of as many as they are."""
    words = (
        len(settings.words.of_module(one)) for one, extras in contents.extras.items() if "words" in extras
    )
    ranks = (settings.form.product_rank(settings.rank_of(module)) for module in contents.factors)
    return max((*words, *ranks), default=1)


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
        raise SafetensorsError(
            f"tensor {entry.name!r} holds NaN or infinity; train it again, with a lower learning rate"
        )
    return values
