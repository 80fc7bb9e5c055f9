"""What is added to each linear module for each row of the batch in hand, and the wrapper that adds it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.layout import Layout
from loradex.worker.engine.product import pack


class Updates(Protocol):
    """Low-rank updates of a batch's rows."""

    def add(self, module: str, x: Tensor, out: Tensor) -> None:
        """Adds the updates of `module` for `x` `[rows, tokens, d_in]` to `out` `[rows, tokens, d_out]`.

        An embedding is given its words as numbers, `[rows, tokens]`.
        """

    def rows(self, index: slice | Tensor) -> "Updates":
        """The updates of some of the rows; a slice shares memory."""


class RowFactors:
    """Each row has its own A `[rank, d_in]` and B `[rank, d_out]` in every module: out += (x A^T) B.

    Args:
        layout: Where each module's factors lie; its `rank` is not read.
        planes: For each width, `[planes, rows, rank, width]`.
    """

    def __init__(self, layout: Layout, planes: Mapping[int, Tensor]) -> None:
        self.layout = layout
        self.planes = planes
        self._pairs: dict[str, tuple[Tensor, Tensor]] = {}
        for index, name in enumerate(layout.modules):
            (wide_a, a), (wide_b, b) = layout.places[index, "A"], layout.places[index, "B"]
            self._pairs[name] = (planes[wide_a][a], planes[wide_b][b])

    def add(self, module: str, x: Tensor, out: Tensor) -> None:
        pair = self._pairs.get(module)
        if pair is None:
            return
        a, b = pair
        check_rows(module, x, a.shape[0])
        if x.is_floating_point():
            narrow = torch.bmm(a, x.transpose(1, 2))  # A x^T is faster than x A^T: A is the larger one
        else:
            narrow = a.gather(2, x.unsqueeze(1).expand(-1, a.shape[1], -1))  # words: columns of A
        out.baddbmm_(narrow.transpose(1, 2).to(out.dtype), b.to(out.dtype))  # the head's logits are float32

    def rows(self, index: slice | Tensor) -> "RowFactors":
        return RowFactors(self.layout, {width: planes[:, index] for width, planes in self.planes.items()})


class UpdateSum:
    """Several updates of the same rows, one added after the other."""

    def __init__(self, parts: Sequence[Updates]) -> None:
        self.parts = parts

    def add(self, module: str, x: Tensor, out: Tensor) -> None:
        for part in self.parts:
            part.add(module, x, out)

    def rows(self, index: slice | Tensor) -> "UpdateSum":
        return UpdateSum([part.rows(index) for part in self.parts])


def check_rows(module: str, x: Tensor, rows: int) -> None:
    """Refuses what a module is given if it is not `[rows, tokens, d_in]`.

    Raises:
        InvalidArgumentError: Its rows cannot be told apart.
    """
    if x.dim() != (3 if x.is_floating_point() else 2) or x.shape[0] != rows:
        raise InvalidArgumentError(
            f"{module} is not given [rows, tokens, features]; it cannot be changed row by row"
        )


class UpdateSwitch:
    """The updates in force; every wrapped module looks here. None is the bare base model.

    Args:
        device: Where all updates are computed; None: where the module is.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.current: Updates | None = None
        self.device = device


class RowLinear(nn.Module):
    """A linear module, or an embedding, that adds each row's update to its output; its weights are never touched."""

    def __init__(self, name: str, base: nn.Module, switch: UpdateSwitch) -> None:
        super().__init__()
        self.name = name
        self.base = base
        self.product = pack(base)
        self._switch = switch

    @property
    def weight(self) -> Tensor:
        return self.base.weight  # type: ignore[return-value] # models ask a projection for its weight's dtype

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        out = self.product(x)
        updates = self._switch.current
        if updates is None:
            return out
        device = self._switch.device
        if device is None or device == out.device:
            updates.add(self.name, x, out)
            return out
        # A layer that lies on another device than the adapters do.
        added = torch.zeros_like(out, device=device)
        updates.add(self.name, x.to(device), added)
        return out.add_(added.to(out.device))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Models ask their embeddings for more than vectors.
            return getattr(super().__getattr__("base"), name)


def wrap(model: nn.Module, names: Sequence[str], switch: UpdateSwitch) -> None:
    """Replaces each named module by a `RowLinear` around it."""
    for name in names:
        parent, _, child = name.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, child, RowLinear(name, getattr(owner, child), switch))
