"""What a mixture is, as a value: hashable, storable in Postgres, and enough to rebuild the same factors."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, get_args

from db.errors import InvalidArgumentError, UnknownNameError

Merge = Literal["linear", "cat", "ties", "ties_frequency", "magnitude_prune"]
Dtype = Literal["float32", "bfloat16"]

MERGES: Final[tuple[str, ...]] = get_args(Merge)
DTYPES: Final[tuple[str, ...]] = get_args(Dtype)
CALIBRATED: Final = "calibrated_"
METHODS: Final[tuple[str, ...]] = MERGES + tuple(CALIBRATED + merge for merge in MERGES)
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
        method: One of `METHODS`; `calibrated_` before a merge rescales its result (see
            `merging.calibration`).
        density: Share of the entries a trim keeps, at least 0; 1 and more keep all. Only the trimming merges
            read it.
        dtype: Numbers the merged factors are kept in; it changes the result, so it belongs to the recipe.
        components: The adapters in the order of the mixture; none means the bare base model.

    Raises:
        UnknownNameError: No such method or dtype.
        InvalidArgumentError: A weight or the density is not a number, or the density is negative.
    """

    method: str
    density: float
    dtype: str
    components: tuple[Component, ...]

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownNameError(f"no merge method {self.method!r}; use one of {', '.join(METHODS)}")
        if self.dtype not in DTYPES:
            raise UnknownNameError(f"no merge dtype {self.dtype!r}; use one of {', '.join(DTYPES)}")
        if not math.isfinite(self.density) or self.density < 0:
            raise InvalidArgumentError(f"density is {self.density}; give a number from 0 to 1")
        for part in self.components:
            if not math.isfinite(part.weight):
                raise InvalidArgumentError(
                    f"adapter {part.sha256[:12]} has weight {part.weight}; give a number"
                )

    @property
    def calibrated(self) -> bool:
        return self.method.startswith(CALIBRATED)

    @property
    def merge(self) -> str:
        """The merge that is computed. PEFT 0.21 merges a single adapter as `linear`, whatever was asked."""
        merge = self.method.removeprefix(CALIBRATED)
        return "linear" if len(self.components) == 1 and merge != "cat" else merge

    @property
    def trim(self) -> float | None:
        """Density of the trim each adapter goes through before the merge; None where nothing is trimmed."""
        return self.density if self.merge in TRIMMING and self.density < 1 else None

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, over the canonical JSON text of the recipe."""
        document = {
            "method": self.method,
            "density": self.density,
            "dtype": self.dtype,
            "components": [[part.sha256, part.weight] for part in self.components],
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()
