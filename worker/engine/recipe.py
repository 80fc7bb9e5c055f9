"""What a mixture is, as a value: hashable, storable in Postgres, and enough to rebuild the same factors."""

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, get_args

from loradex.errors import InvalidArgumentError, UnknownNameError

Merge = Literal["linear", "cat", "ties", "ties_frequency", "magnitude_prune"]
Dtype = Literal["float32", "bfloat16", "float16"]

MERGES: Final[tuple[str, ...]] = get_args(Merge)
DTYPES: Final[tuple[str, ...]] = get_args(Dtype)
TRIMMING: Final = frozenset({"ties", "ties_frequency", "magnitude_prune"})


@dataclass(frozen=True)
class Component:
    """One adapter of a mixture: its content hash and its weight, which may be negative or zero."""

    sha256: str
    weight: float


@dataclass(frozen=True)
class Recipe:
    """A mixture of adapters.

    Attributes:
        merge: How the adapters' factors become one update; one of `MERGES`.
        density: Share of the entries a trim keeps, at least 0; 1 and more keep all. Only the trimming merges
            read it.
        dtype: Numbers the merged factors are kept in; it changes the result, so it belongs to the recipe.
        components: The adapters in the order of the mixture; none means the bare base model.
        calibrated: Whether the result is rescaled to the weighted mean norm of its adapters (see
            `merging.calibration`).

    Raises:
        UnknownNameError: There is no such merge or dtype.
        InvalidArgumentError: A weight or the density is not a number, or the density is negative.
    """

    merge: str
    density: float
    dtype: str
    components: tuple[Component, ...]
    calibrated: bool = False

    def __post_init__(self) -> None:
        if self.merge not in MERGES:
            raise UnknownNameError(f"no merge {self.merge!r}; use one of {', '.join(MERGES)}")
        if self.dtype not in DTYPES:
            raise UnknownNameError(f"no merge dtype {self.dtype!r}; use one of {', '.join(DTYPES)}")
        if not math.isfinite(self.density) or self.density < 0:
            raise InvalidArgumentError(f"density is {self.density}; give a number of 0 or more")
        for part in self.components:
            if not math.isfinite(part.weight):
                raise InvalidArgumentError(
                    f"adapter {part.sha256[:12]} has weight {part.weight}; give a number"
                )

    @classmethod
    def decided(cls, routing: Mapping[str, Any], density: float, dtype: str) -> "Recipe":
        """The recipe of what Postgres decided: `merge`, `calibrated`, `mixture` (sha256, weight of each)."""
        mixture: Sequence[Mapping[str, Any]] = routing["mixture"]
        components = tuple(Component(part["sha256"], float(part["weight"])) for part in mixture)
        return cls(routing["merge"], density, dtype, components, routing["calibrated"])

    @property
    def effective_merge(self) -> str:
        """The merge that is computed. PEFT 0.21 merges a single adapter as `linear`, whatever was asked."""
        return "linear" if len(self.components) == 1 and self.merge != "cat" else self.merge

    @property
    def trim(self) -> float | None:
        """Density of the trim each adapter goes through before the merge; None where nothing is trimmed."""
        return self.density if self.effective_merge in TRIMMING and self.density < 1 else None

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of the recipe's text; the same as the SQL function `loradex.recipe_hash` gives."""
        lines = [
            f"merge {self.merge}",
            f"calibrated {'true' if self.calibrated else 'false'}",
            f"density {_hex(self.density)}",
            f"dtype {self.dtype}",
            *(f"{part.sha256} {_hex(part.weight)}" for part in self.components),
        ]
        return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _hex(number: float) -> str:
    """The 16 hex digits of an IEEE 754 double."""
    return struct.pack(">d", number).hex()
