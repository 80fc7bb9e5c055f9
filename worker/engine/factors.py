"""Reads a PEFT LoRA directory into factors; nothing is trusted that was not hashed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load as parse_safetensors

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_config import LoraSettings, parse_config
from loradex.library.adapter_extras import EXTRAS
from loradex.library.adapter_factors import place_of
from loradex.library.adapter_files import read_files
from loradex.worker.engine.base_modules import BaseModules
from loradex.worker.engine.factor import Factor, beside
from loradex.worker.engine.kinds import APPLY, Change
from loradex.worker.engine.row_vectors import Side, Vectors


@dataclass(frozen=True)
class Adapter:
    """One adapter, as it is added to the base model.

    Attributes:
        factors: By module name.
        merges: What it can be mixed by; None is every merge.
        invoked_by: The tokens from which on it counts; none is always.
        vectors: Gates and biases beside the factors, float32 on the host.
    """

    sha256: str
    factors: Mapping[str, Factor]
    merges: tuple[str, ...] | None = None
    vectors: Vectors = field(default_factory=dict)
    invoked_by: tuple[int, ...] = ()

    @property
    def whole_bytes(self) -> int:
        """Bytes of the modules that were trained whole."""
        return sum(one.nbytes for (_, side), one in self.vectors.items() if side == "whole")

    @property
    def rank(self) -> int:
        return max((factor.rank for factor in self.factors.values()), default=0)

    @property
    def nbytes(self) -> int:
        numbers = sum(factor.a.numel() + factor.b.numel() for factor in self.factors.values())
        return 4 * (numbers + sum(vector.numel() for vector in self.vectors.values()))

    def norm(self) -> float:
        """Frobenius norm of what the factors add."""
        return math.sqrt(sum(factor.norm_squared() for factor in self.factors.values()))


def read_adapter(directory: Path, sha256: str, base: BaseModules | None = None) -> Adapter:
    """Reads the directory once, checks its content hash and returns what it adds to the base model.

    `base` are the base model's modules; kinds that change its weights are refused without them.

    Raises:
        AdapterChangedError: The files are not what was registered.
        AdapterRefusedError: They cannot be read, or hold something that cannot be composed exactly.
    """
    files = read_files(directory, expected_sha256=sha256)
    settings = parse_config(files.config)
    try:
        tensors = parse_safetensors(files.weights)
    except Exception as error:
        raise AdapterRefusedError(f"{directory} cannot be read: {error}; fetch or save it again") from error
    found = _found(directory, settings, tensors)
    factors: dict[str, Factor] = {}
    vectors: dict[tuple[str, Side], torch.Tensor] = {}
    for name, parts in sorted(found.items()):
        factor = _factor(directory, settings, name, parts, base.scale(name) if base and name in base else 1.0)
        extras = [extra for extra in APPLY if extra in parts]
        if factor is not None and "magnitude" in settings.extras and "magnitude" not in parts:
            raise AdapterRefusedError(
                f"{directory}: use_dora is set, and {name} has no magnitude; save it again"
            )
        if extras:
            try:
                changed = _changed(
                    base,
                    name,
                    factor,
                    settings.words.of_module(name),
                    {extra: parts[extra] for extra in extras},
                )
            except (AdapterRefusedError, RuntimeError) as error:
                raise AdapterRefusedError(f"{directory}: {error}") from error
            factor = changed.factor
            vectors |= {(name, side): vector for side, vector in changed.vectors.items()}
            head = changed.base.tied_to(name)
            if head is not None and changed.tied is not None:
                factors[head] = beside(factors.get(head), changed.tied)
        if factor is not None:
            factors[name] = beside(factors.get(name), factor) if name in factors else factor
    if not factors and not vectors:
        raise AdapterRefusedError(f"{directory} holds no LoRA factors; save it again with PEFT")
    return Adapter(sha256, factors, settings.merges, vectors, settings.invoked_by)


def _found(
    directory: Path, settings: LoraSettings, tensors: Mapping[str, torch.Tensor]
) -> dict[str, dict[str, torch.Tensor]]:
    """Of each module its tensors, by the form's parts and the names of extras."""
    found = dict[str, dict[str, torch.Tensor]]()
    for key, tensor in tensors.items():
        place = place_of(key, settings.form)
        if place is None or (place[1] in EXTRAS and place[1] not in settings.extras):
            raise AdapterRefusedError(
                f"{directory}: {key} is not a factor of a linear module; register it again"
            )
        if not torch.isfinite(tensor).all():
            raise AdapterRefusedError(f"{directory}: {key} holds NaN or infinity; train it again")
        name, part = place
        if part in found.get(name, {}):
            raise AdapterRefusedError(
                f"{directory}: {key} is a part of {name} that stands there twice; take one of the two out"
            )
        found.setdefault(name, {})[part] = tensor.to(torch.float32).contiguous()
    return found


def _factor(
    directory: Path, settings: LoraSettings, name: str, parts: Mapping[str, torch.Tensor], scale: float
) -> Factor | None:
    form, rank = settings.form, settings.rank_of(name)
    ordered = [parts[part] for part in form.parts if part in parts]
    if not ordered and parts.keys() <= EXTRAS.keys():
        return None
    if len(ordered) < len(form.parts) or form.sizes([tuple(one.shape) for one in ordered], rank) is None:
        raise AdapterRefusedError(
            f"{directory}: {name} lacks a factor, or has another rank than its config says; register it again"
        )
    a, b = form.factors(ordered)
    return Factor(a, b, scale * settings.scaling_of(name))


def _changed(
    base: BaseModules | None,
    name: str,
    factor: Factor | None,
    words: tuple[int, ...],
    extras: Mapping[str, torch.Tensor],
) -> Change:
    """The module's part once its extras are applied, one after the other."""
    if base is None:
        raise AdapterRefusedError(
            f"{name} has gates, biases or a copy of weights, which are read beside the base model's own, and this "
            "engine does not hold them; LORADEX_ENGINE=torch does"
        )
    if name not in base:
        raise AdapterRefusedError(
            f"{name} is not a linear module of this base model, nor a norm with a bias; register it for the model it "
            'was trained on, and train biases with bias = "lora_only"'
        )
    change = Change(name, base, factor, words)
    for extra, tensor in extras.items():
        APPLY[extra](change, tensor)
    return change
