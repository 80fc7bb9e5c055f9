"""Reads a PEFT LoRA directory into factors; nothing is trusted that was not hashed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as parse_safetensors

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_config import LoraSettings, parse_config
from loradex.library.adapter_factors import place_of
from loradex.library.adapter_files import read_files


@dataclass(frozen=True)
class Factor:
    """The update of one module, `scaling * B @ A`: A `[r, d_in]` and B `[d_out, r]`, float32 on the host."""

    a: torch.Tensor
    b: torch.Tensor
    scaling: float

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def norm_squared(self) -> float:
        """|scaling * B A|_F^2 = scaling^2 * sum((A A^T) * (B^T B)): the product itself is never formed."""
        return self.scaling**2 * float(((self.a @ self.a.T) * (self.b.T @ self.b)).sum())


@dataclass(frozen=True)
class Adapter:
    """All factors of one adapter, by module name."""

    sha256: str
    factors: Mapping[str, Factor]
    merges: tuple[str, ...] | None = None
    """What it can be mixed by; None is every merge."""

    @property
    def rank(self) -> int:
        return max(factor.rank for factor in self.factors.values())

    @property
    def nbytes(self) -> int:
        return sum(4 * (factor.a.numel() + factor.b.numel()) for factor in self.factors.values())

    def norm(self) -> float:
        """Frobenius norm of the whole update."""
        return math.sqrt(sum(factor.norm_squared() for factor in self.factors.values()))


def read_adapter(directory: Path, sha256: str) -> Adapter:
    """Reads the directory once, checks its content hash and returns its factors.

    Raises:
        AdapterChangedError: The files are not what was registered.
        AdapterRefusedError: They cannot be read, or hold something that cannot be composed exactly.
    """
    files = read_files(directory, expected_sha256=sha256)
    settings = parse_config(files.config)
    try:
        tensors = parse_safetensors(files.weights)
    except Exception as error:
        raise AdapterRefusedError(f"{directory} cannot be read: {error}") from error
    return Adapter(sha256, _factors(directory, settings, tensors), settings.form.merges)


def _factors(
    directory: Path, settings: LoraSettings, tensors: Mapping[str, torch.Tensor]
) -> dict[str, Factor]:
    form, found = settings.form, dict[str, dict[str, torch.Tensor]]()
    for key, tensor in tensors.items():
        place = place_of(key, form)
        if place is None:
            raise AdapterRefusedError(f"{directory}: {key} is not a factor of a linear module")
        if not torch.isfinite(tensor).all():
            raise AdapterRefusedError(f"{directory}: {key} holds NaN or infinity")
        name, part = place
        found.setdefault(name, {})[part] = tensor.to(torch.float32).contiguous()
    factors: dict[str, Factor] = {}
    for name, parts in sorted(found.items()):
        ordered = [parts[part] for part in form.parts if part in parts]
        rank = settings.rank_of(name)
        if len(ordered) < len(form.parts) or form.sizes([tuple(one.shape) for one in ordered], rank) is None:
            raise AdapterRefusedError(
                f"{directory}: {name} lacks a factor, or has another rank than its config says"
            )
        a, b = form.factors(ordered)
        factors[name] = Factor(a, b, settings.scaling_of(name))
    if not factors:
        raise AdapterRefusedError(f"{directory} holds no LoRA factors")
    return factors
