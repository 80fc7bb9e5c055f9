"""What a model's configuration says about how it reads: how far each layer sees, and what it cannot be asked."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from loradex.errors import ModelRefusedError
from loradex.library.base_model_files import context_length

Layer = Literal["full_attention", "sliding_attention", "chunked_attention"]
LAYERS: Final = ("full_attention", "sliding_attention", "chunked_attention")
"""The kinds of layer that keep nothing but keys and values, one of each for a token."""
BY_COLUMNS: Final = frozenset({"bloom", "gpt_neo", "mpt"})
"""Families that count distance in columns of the cache or of the mask, and not in positions."""


@dataclass(frozen=True)
class Architecture:
    """How a model reads.

    Attributes:
        family: The `model_type` of its configuration.
        layers: Layers that keep keys and values.
        context: Tokens a row may have.
        sights: For each kind of its layers, how many tokens it sees: the last ones (`sliding_attention`), those
            of its own chunk (`chunked_attention`), or all that are before it (None).
        long_from: Rows of more tokens than that are read with other frequencies (LongRoPE), and so is every
            row beside them; None if there is no such border.
        branches: Whether tokens may see what a mask says, wherever they lie in the cache.
        arguments: What its `forward` takes, by name.
    """

    family: str
    layers: int
    context: int
    sights: Mapping[Layer, int | None]
    long_from: int | None
    branches: bool
    arguments: frozenset[str]

    @classmethod
    def of(cls, model: Any) -> "Architecture":
        """The architecture of a causal language model.

        Raises:
            ModelRefusedError: It keeps more than keys and values, or its configuration does not say how many
                tokens it reads.
        """
        config = model.config.get_text_config()
        family = str(config.model_type)
        kinds = set(getattr(config, "layer_types", None) or ())
        if unknown := sorted(kinds - set(LAYERS)):
            raise _keeps_states(family, ", ".join(unknown))
        if getattr(model, "_is_stateful", False):
            raise _keeps_states(family, "a state")
        window = getattr(config, "sliding_window", None)
        if not kinds:
            kinds = {"sliding_attention" if window else "full_attention"}
        sizes = {
            "sliding_attention": window,
            "chunked_attention": getattr(config, "attention_chunk_size", None),
        }
        return cls(
            family=family,
            layers=config.num_hidden_layers,
            context=context_length(config.to_dict(), family),
            sights={kind: sizes.get(kind) for kind in LAYERS if kind in kinds},
            long_from=_long_from(config),
            branches=family not in BY_COLUMNS and not getattr(config, "alibi", False),
            arguments=frozenset(inspect.signature(model.forward).parameters),
        )

    def is_long(self, tokens: int) -> bool:
        """Whether a row of that many tokens is read with the frequencies of long ones."""
        return self.long_from is not None and tokens > self.long_from

    def masks(self, sees: Tensor, queries: Tensor, keys: Tensor, dtype: torch.dtype) -> Any:
        """What attention adds to its scores: one mask, or one for each kind of layer.

        Args:
            sees: `[rows, tokens, columns]`, True where a token may see a column at all.
            queries: Positions of the tokens, `[rows, tokens]`.
            keys: Positions of the columns, `[rows, columns]`.
            dtype: What the model computes in. Attention that is written out adds a mask of truths as 0 and 1.
        """
        masks = {}
        for kind, size in self.sights.items():
            seen = sees
            if size is not None and kind == "sliding_attention":
                seen = sees & (queries.unsqueeze(2) - keys.unsqueeze(1) < size)
            elif size is not None:
                seen = sees & (queries.unsqueeze(2) // size == keys.unsqueeze(1) // size)
            nothing = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            masks[kind] = nothing.masked_fill_(~seen, torch.finfo(dtype).min).unsqueeze(1)
        return masks if len(masks) > 1 else next(iter(masks.values()))


def _keeps_states(family: str, what: str) -> ModelRefusedError:
    return ModelRefusedError(
        f"{family} keeps more of a text than keys and values ({what}), and rows of unequal length cannot share "
        "that; use a base model whose layers are all attention"
    )


def _long_from(config: Any) -> int | None:
    """The tokens up to which LongRoPE uses its short factors."""
    told = getattr(config, "rope_parameters", None) or {}
    for rope in (told, *(inner for inner in told.values() if isinstance(inner, Mapping))):
        if rope.get("rope_type") == "longrope":
            return int(rope["original_max_position_embeddings"])
    return None
