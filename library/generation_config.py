"""How a model's publisher wants texts to be written: what its `generation_config.json` states of it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loradex.errors import ModelRefusedError
from loradex.library.model_json import read_object

FILE: Final = "generation_config.json"
SAMPLING: Final = ("temperature", "top_k", "top_p", "min_p")
"""What transformers reads only where `do_sample` is true; a job says `sampling_` before them."""
PENALTY: Final = "repetition_penalty"


def generation_defaults(directory: Path) -> dict[str, float]:
    """Settings of a job, with the values that the model's own file states; empty where it states none.

    A file that says `do_sample` and no temperature samples at 1, as transformers does. Whatever else transformers
    would fill in is its own, and not the model's. Ranges are the database's to judge.

    Raises:
        ModelRefusedError: The file cannot be read, or says something that is no number.
    """
    path = directory / FILE
    if not path.exists():
        return {}
    config = read_object(path)
    samples = config.get("do_sample") or False
    if not isinstance(samples, bool):
        raise _refused(path, "do_sample", samples)
    told = {PENALTY: _number(path, PENALTY, config)}
    if samples:
        told |= {f"sampling_{name}": _number(path, name, config) for name in SAMPLING}
        told["sampling_temperature"] = 1.0 if (heat := told["sampling_temperature"]) is None else heat
    return {name: value for name, value in told.items() if value is not None}


def _number(path: Path, name: str, config: Mapping[str, Any]) -> float | None:
    value = config.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise _refused(path, name, value)
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # of an integer beyond all numbers with a point
        return False


def _refused(path: Path, name: str, value: object) -> ModelRefusedError:
    return ModelRefusedError(
        f"{path}: {name} is {str(value)[:40]!r}; mend the file, or leave what it says out with --no-generation-config"
    )
