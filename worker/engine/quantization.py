"""Weights in few bits: which ways there are, what each asks of transformers, and which way a model's files took."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from loradex.errors import ModelRefusedError

ROUNDS_WHAT_IT_READS: Final = frozenset({"bitsandbytes-8bit"})
"""Ways that round what a module reads too, in steps that depend on the rows beside it."""

CHANGED_BY_NO_ADAPTER: Final = frozenset({"gptq", "awq"})
"""Ways of files whose modules are no `nn.Linear`."""


@dataclass(frozen=True)
class _Way:
    """A package, and what it asks of transformers for models that compute in some dtype."""

    package: str
    config: Callable[[str], Any]


def _four_bits(dtype: str) -> Any:
    from transformers import BitsAndBytesConfig  # noqa: PLC0415 - seconds that other callers spare

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _eight_bits(_: str) -> Any:
    from transformers import BitsAndBytesConfig  # noqa: PLC0415 - as above

    return BitsAndBytesConfig(load_in_8bit=True)


def _int8(_: str) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig  # noqa: PLC0415 - an extra
    from transformers import TorchAoConfig  # noqa: PLC0415 - as above

    return TorchAoConfig(Int8WeightOnlyConfig())


def _float8(_: str) -> Any:
    from torchao.quantization import Float8WeightOnlyConfig  # noqa: PLC0415 - an extra
    from transformers import TorchAoConfig  # noqa: PLC0415 - as above

    return TorchAoConfig(Float8WeightOnlyConfig())


_WAYS: Final[Mapping[str, _Way]] = {
    "bitsandbytes-4bit": _Way("bitsandbytes", _four_bits),
    "bitsandbytes-8bit": _Way("bitsandbytes", _eight_bits),
    "torchao-int8": _Way("torchao", _int8),
    "torchao-float8": _Way("torchao", _float8),
}


def config_of(quantization: str, dtype: str) -> Any:
    """What `from_pretrained` is given so that it quantises while it loads.

    Raises:
        ModelRefusedError: Its package is not installed.
    """
    way = _WAYS[quantization]
    try:
        version(way.package)
    except PackageNotFoundError:
        raise ModelRefusedError(
            f"{quantization} needs {way.package}, which is not installed: pip install 'loradex[quantization]', or "
            "unset LORADEX_QUANTIZATION"
        ) from None
    return way.config(dtype)


def packages_of(quantization: str | None) -> tuple[str, ...]:
    """The package whose version takes part in an answer."""
    way = _WAYS.get(quantization or "")
    return () if way is None else (way.package,)


def told_by(config: Any) -> str | None:
    """What a model's own configuration says of its weights, such as `gptq`; None: they are plain.

    The names of the ways above where it is one of them.
    """
    told = getattr(config, "quantization_config", None)
    if told is None:
        return None
    said: Mapping[str, Any] = told if isinstance(told, Mapping) else told.to_dict()
    method = str(getattr(said.get("quant_method"), "value", said.get("quant_method")))
    if method == "bitsandbytes":
        return "bitsandbytes-4bit" if said.get("load_in_4bit") else "bitsandbytes-8bit"
    if method == "torchao":
        for name, kind in (("torchao-int8", "Int8WeightOnly"), ("torchao-float8", "Float8WeightOnly")):
            if kind in str(said.get("quant_type")):
                return name
    return method
