"""A base model's directory, read without torch: whether adapters can be composed on it, and how much it reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loradex.errors import ModelRefusedError
from loradex.library.manifest import MAX_CONTEXT, BaseModelEntry
from loradex.library.model_files import files_of
from loradex.library.model_json import read_object

CONTEXTS: Final = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
"""How configurations name the tokens a model has places for; the first that is there counts."""
WRITERS: Final = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
WEIGHTS: Final = (".safetensors", ".bin")


def read_base_model(directory: Path, name: str, frame: str) -> BaseModelEntry:
    """The model as the database knows it.

    Raises:
        ModelRefusedError: Not a causal language model in Hugging Face form; the text says why.
    """
    config = read_object(directory / "config.json")
    kinds = config.get("architectures") or []
    if kinds and not any(str(kind).endswith(WRITERS) for kind in kinds):
        raise ModelRefusedError(
            f"{directory}: a {', '.join(map(str, kinds))} does not write texts; a base model is a causal one"
        )
    if config.get("is_encoder_decoder"):
        raise ModelRefusedError(
            f"{directory}: it has an encoder and a decoder, as T5 does; a base model is a causal one"
        )
    if not any(path.suffix in WEIGHTS for path in directory.iterdir()):
        raise ModelRefusedError(f"{directory}: there are no weights ({' or '.join(WEIGHTS)})")
    if "{prompt}" not in frame:
        raise ModelRefusedError(
            f"the template {frame!r} does not say where the prompt stands: write {{prompt}}"
        )
    return BaseModelEntry(
        name=name,
        revision=files_of(directory).revision,
        context_length=context_length(config, directory / "config.json"),
        frame=frame,
    )


def context_length(config: Mapping[str, Any], told_by: object) -> int:
    """Tokens of prompt and answer together.

    A sliding window does not bound them: it is what some layers see, and texts go on beyond it.

    Args:
        config: What a `config.json` says, or a loaded configuration as a dictionary.
        told_by: Where it comes from, for the message.

    Raises:
        ModelRefusedError: The configuration does not say it.
    """
    inner = config.get("text_config")
    told = {**config, **inner} if isinstance(inner, dict) else config
    places = next((told[key] for key in CONTEXTS if type(told.get(key)) is int and told[key] > 0), None)
    if places is None:
        raise ModelRefusedError(f"{told_by}: none of {', '.join(CONTEXTS)} says how many tokens it reads")
    if places > MAX_CONTEXT:
        raise ModelRefusedError(
            f"{told_by}: {str(places)[:20]} tokens are more than any model reads; mend the file"
        )
    return int(places)
