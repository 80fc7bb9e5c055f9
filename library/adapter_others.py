"""Weights in a form that is not read, told by the names of files: what each is, and what to do with it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

PICKLES: Final = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "adapter_model.pkl")
"""What `loradex adapter convert` takes, in this order."""
JOIN: Final = (
    "save_file({n: one for part in parts for n, one in load_file(part).items()}, 'adapter_model.safetensors')"
)
OTHERS: Final = (
    (
        "adapter_model-*-of-*.safetensors",
        f"its weights are in parts, and one file is read; join them with safetensors.torch: {JOIN}",
    ),
    (
        "adapter_model-*-of-*",
        "its weights are in parts, and one file is read; save it as one with PEFT's save_pretrained",
    ),
    ("*.gguf", "this is llama.cpp's form; register the PEFT adapter that it was made of"),
    (
        "adapters.safetensors",
        "this is MLX's form, whose tensors are turned; save it in PEFT's, or register the model that mlx_lm.fuse makes",
    ),
    ("adapter_model.*", "this form is not read; save it with PEFT's save_pretrained, as safetensors"),
)


def not_read(directory: Path) -> list[str]:
    """The names of weights beside `adapter_model.safetensors`, or in place of it."""
    return sorted(
        path.name for path in directory.glob("adapter_model*") if path.name != "adapter_model.safetensors"
    )


def cure_of(directory: Path) -> tuple[str, str] | None:
    """The first file of weights in another form, and what to do about it; None if there is none."""
    pickle = _first(directory / name for name in PICKLES)
    if pickle is not None:
        return pickle, (
            "only safetensors are read, a pickle can run code; make one of it with "
            f"`loradex adapter convert {directory}`"
        )
    for pattern, cure in OTHERS:
        found = _first(sorted(directory.glob(pattern)))
        if found is not None:
            return found, cure
    return None


def _first(paths: Iterable[Path]) -> str | None:
    return next((path.name for path in paths if path.is_symlink() or path.exists()), None)
