"""What is given to vLLM beside what Loradex sets itself, and what of it stands in the evidence."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from loradex.errors import InvalidArgumentError

OURS: Final = frozenset(
    {
        "model",
        "dtype",
        "seed",
        "skip_tokenizer_init",
        "enable_lora",
        "max_loras",
        "max_cpu_loras",
        "max_lora_rank",
        "lora_target_modules",
        "logprobs_mode",
        "generation_config",
    }
)
"""Arguments of vLLM that Loradex gives itself."""
ONE_HOST: Final = ("pipeline_parallel_size", "data_parallel_size")
"""Arguments that would spread layers or requests, where no mixture of ours was ever handed over."""
CONTEXT: Final = "max_model_len"
LEAST_CONTEXT: Final = 2
"""One token is read, and one is written."""
ANOTHER_MODEL: Final = frozenset(
    {
        "code_revision",
        "config_format",
        "disable_sliding_window",
        "hf_config_path",
        "hf_overrides",
        "kv_cache_dtype",
        "kv_cache_dtype_skip_layers",
        "kv_sharing_fast_prefill",
        "load_format",
        "logits_processors",
        "lora_dtype",
        "model_class_overrides",
        "model_weights",
        "quantization",
        "quantization_config",
        "revision",
        "swa_bounded_replay",
        "watermark_config",
    }
)
"""Arguments by which the same files answer otherwise, and not by rounding alone."""


SAME_MODEL: Final[Mapping[str, Collection[str]]] = {
    "load_format": {
        *("safetensors", "pt", "npcache", "fastsafetensors", "instanttensor", "mistral", "modelexpress"),
        *("runai_streamer", "runai_streamer_sharded", "sharded_state"),
    }
}
"""Values that read the same weights in another way."""
WORD: Final = re.compile(r"[\w.+-]{1,64}")


def require_free(arguments: Mapping[str, Any]) -> None:
    """Raises `InvalidArgumentError` where something is given that Loradex sets, or that would part the model."""
    if ours := sorted(OURS & set(arguments)):
        raise InvalidArgumentError(
            f"LORADEX_VLLM_ARGUMENTS has {', '.join(ours)}, which Loradex sets itself; leave it out"
        )
    if apart := [name for name in ONE_HOST if arguments.get(name, 1) != 1]:
        raise InvalidArgumentError(
            f"LORADEX_VLLM_ARGUMENTS has {', '.join(apart)}, over which mixtures are not handed; use "
            "tensor_parallel_size, or one worker for each copy of the model"
        )


def context_given(arguments: Mapping[str, Any], most: int) -> int:
    """Tokens a row may have: what is given, else what the model reads.

    Raises:
        InvalidArgumentError: It is no number, or more than the model reads.
    """
    given = arguments.get(CONTEXT, most)
    if isinstance(given, bool) or not isinstance(given, int) or not LEAST_CONTEXT <= given <= most:
        raise InvalidArgumentError(
            f"LORADEX_VLLM_ARGUMENTS has {CONTEXT} {given!r}; give a whole number from {LEAST_CONTEXT} to {most}, "
            "which is what the model reads"
        )
    return given


def told(arguments: Mapping[str, Any], dtype: str) -> dict[str, str]:
    """What `versions` of an answer says of the arguments: those that make another model of it, as JSON, if any do.

    No others: they may say where something lies, and how to get there. What is more than a word is told by its hash.
    """
    deciding = {
        name: _short(value)
        for name, value in arguments.items()
        if name in ANOTHER_MODEL and _says(value) and not _alike(name, value, dtype)
    }
    return {"vllm_arguments": json.dumps(deciding, sort_keys=True)} if deciding else {}


def _alike(name: str, value: Any, dtype: str) -> bool:
    """Whether the model is the same with it."""
    return isinstance(value, str) and (
        value in SAME_MODEL.get(name, ()) or (name == "kv_cache_dtype" and value == dtype)
    )


def _says(value: Any) -> bool:
    return value not in (None, False, "auto", {}, [])


def _short(value: Any) -> Any:
    if isinstance(value, bool | int | float) or (isinstance(value, str) and WORD.fullmatch(value)):
        return value
    return f"sha256 {hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()}"
