"""Where each factor of each module lies in the bank: factors of one width share one tensor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Shape:
    """The sizes of one linear module.

    Attributes:
        reads: Number of the tensor it is given: modules of one number are given the same. None is unknown.
    """

    d_in: int
    d_out: int
    reads: int | None = None


@dataclass(frozen=True)
class Layout:
    """A rank and the modules a bank has room for.

    A plane is one factor of one module: A as `[rank, d_in]`, or B transposed as `[rank, d_out]`. Planes of
    one width lie in one tensor, so a merge is a few large products and not two small ones a module.

    Attributes:
        rank: Ranks below it are padded with zeros, which changes no product.
        shapes: Modules by name, in the model's order.
    """

    rank: int
    shapes: Mapping[str, Shape]

    @cached_property
    def modules(self) -> Sequence[str]:
        return tuple(self.shapes)

    @cached_property
    def planes(self) -> Mapping[int, Sequence[tuple[int, str]]]:
        """For each width, its planes as (module index, side)."""
        planes: dict[int, list[tuple[int, str]]] = {}
        for index, shape in enumerate(self.shapes.values()):
            planes.setdefault(shape.d_in, []).append((index, "A"))
        for index, shape in enumerate(self.shapes.values()):
            planes.setdefault(shape.d_out, []).append((index, "B"))
        return planes

    @cached_property
    def readers(self) -> Sequence[range]:
        """Runs of modules that are given the same tensor; their A lie side by side."""
        runs: list[range] = []
        before: int | None = None
        for index, shape in enumerate(self.shapes.values()):
            if before is not None and shape.reads == before:
                runs[-1] = range(runs[-1].start, index + 1)
            else:
                runs.append(range(index, index + 1))
            before = shape.reads
        return runs

    @cached_property
    def places(self) -> Mapping[tuple[int, str], tuple[int, int]]:
        """For (module index, side), its (width, plane)."""
        return {key: (width, plane) for width, keys in self.planes.items() for plane, key in enumerate(keys)}

    def slot_bytes(self, itemsize: int) -> int:
        """Bytes one adapter takes in the bank."""
        return itemsize * self.rank * sum(shape.d_in + shape.d_out for shape in self.shapes.values())
