"""The form a base model has in memory: numbers, attention, quantisation and place."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Quantization = Literal["bitsandbytes-4bit", "bitsandbytes-8bit", "torchao-int8", "torchao-float8"]
DeviceMap = Literal["auto", "balanced", "balanced_low_0", "sequential"] | Mapping[str, int | str]


@dataclass(frozen=True)
class Form:
    """How a base model is to lie in memory.

    Attributes:
        dtype: Numbers it computes in.
        attention: An implementation of transformers, such as `eager` or `sdpa`; None takes transformers' choice.
        quantization: Weights in few bits, by one of `Quantization` or as their files say; None leaves them as they are.
        device_map: What transformers spreads the layers by; None puts all of them on one device.
    """

    dtype: str = "float32"
    attention: str | None = None
    quantization: str | None = None
    device_map: DeviceMap | None = field(default=None, hash=False)

    @property
    def numbers(self) -> str:
        """What it computes in and what its weights are kept in, in a few words."""
        return numbers(self.dtype, self.quantization)

    def __str__(self) -> str:
        said = {
            "quantised by": self.quantization,
            "with attention": self.attention,
            "spread by": self.device_map,
        }
        return ", ".join(
            (self.dtype, *(f"{words} {value}" for words, value in said.items() if value is not None))
        )


def numbers(dtype: str, quantization: str | None) -> str:
    """`bfloat16`, or `bfloat16, torchao-int8`."""
    return ", ".join(filter(None, (dtype, quantization)))


def spread_of(model: Any) -> str | None:
    """How many parts of a model lie where, such as `cuda:0 9, cuda:1 8, disk 2`; None: all of it on one device."""
    placed: Mapping[str, Any] = getattr(model, "hf_device_map", None) or {}
    parts = Counter(f"cuda:{place}" if isinstance(place, int) else str(place) for place in placed.values())
    return ", ".join(f"{place} {count}" for place, count in sorted(parts.items())) if len(parts) > 1 else None
