"""Which tokens end a text."""

from typing import Any


def ends_of(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a text, by the model's generation settings and by its tokenizer."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = set(named) if isinstance(named, list) else {named}
    return frozenset(end for end in ends | {tokenizer.eos_token_id} if end is not None)
