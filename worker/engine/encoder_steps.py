"""What an encoder does behind its pooling, and the tables of static ones: factors read from its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from loradex.errors import ModelRefusedError
from loradex.library.encoder_files import STATIC, STATIC_FILE
from loradex.library.encoder_layers import Dense, LayerNorm, Normalize, Step

FACTORS: Final = ("model.safetensors", "pytorch_model.bin")


class DenseStep(nn.Module):
    """A linear map, its activation, and what it adds to."""

    def __init__(self, said: Dense) -> None:
        super().__init__()
        self.linear = nn.Linear(said.in_features, said.out_features, bias=said.bias)
        self.activation: nn.Module = getattr(nn, said.activation)()
        self.added = said.use_residual
        if said.use_residual and said.in_features != said.out_features:
            self.residual = nn.Linear(said.in_features, said.out_features, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        made: Tensor = self.activation(self.linear(vectors))
        if not self.added:
            return made
        return made + (self.residual(vectors) if hasattr(self, "residual") else vectors)


class NormStep(nn.Module):
    """A LayerNorm."""

    def __init__(self, said: LayerNorm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(said.dimension)

    def forward(self, vectors: Tensor) -> Tensor:
        normed: Tensor = self.norm(vectors)
        return normed


class UnitStep(nn.Module):
    """Length one."""

    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=1)


def made_of(step: Step) -> nn.Module:
    """The step with its factors, in float32.

    Raises:
        ModelRefusedError: Its factors are missing, or are not those its file speaks of.
    """
    match step.layer:
        case Dense():
            return _filled(DenseStep(step.layer), step.directory)
        case LayerNorm():
            return _filled(NormStep(step.layer), step.directory)
        case Normalize():
            return UnitStep()
        case _:  # Dropout, outside training
            return nn.Identity()


def static_table(start: Path) -> Tensor:
    """A vector for each token of a static model, float32 `[tokens, dimensions]`.

    A model2vec one may say which row a token has, and how much it weighs.
    """
    tensors = factors_in(start, (STATIC_FILE,))
    table = next(tensors[name] for name in STATIC if name in tensors).float()
    if "mapping" in tensors:
        table = table[tensors["mapping"].long()]
    if "weights" in tensors:
        table = table * tensors["weights"].float().unsqueeze(1)
    return table


def factors_in(directory: Path, names: tuple[str, ...] = FACTORS) -> Mapping[str, Tensor]:
    """The tensors of the first of these files that is there; a pickle may hold tensors and no code."""
    from safetensors.torch import load_file  # noqa: PLC0415 - spared where there is none

    for path in (directory / name for name in names):
        try:
            if not path.is_file():
                continue
            if path.suffix == ".safetensors":
                return dict(load_file(path))
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise ModelRefusedError(f"{path}: {error}") from error
    raise ModelRefusedError(f"{directory}: its factors are missing: there is no {' or '.join(names)}")


def _filled(module: nn.Module, directory: Path) -> nn.Module:
    try:
        module.load_state_dict({name: value.float() for name, value in factors_in(directory).items()})
    except RuntimeError as error:
        raise ModelRefusedError(
            f"{directory}: its factors are not those its config.json speaks of: {error}"
        ) from None
    return module
