"""Patterns of module names are read by PEFT's rule, or refused."""

import pytest
from peft.utils.other import get_pattern_key

from loradex.library.module_patterns import Patterns

MODULES = [
    *(f"model.layers.{layer}.self_attn.{name}_proj" for layer in (0, 1, 11) for name in "qkvo"),
    *(f"model.layers.{layer}.mlp.{name}_proj" for layer in (0, 1, 11) for name in ("up", "down")),
    "transformer.h.1.attn.c_attn",
    "lm_head",
]


@pytest.mark.parametrize(
    "patterns",
    [
        ["q_proj", "v_proj"],
        ["model.layers.0.self_attn.q_proj", "q_proj"],
        ["q_proj", "model.layers.0.self_attn.q_proj"],
        [r"layers\.(1|11)\.self_attn\.(q|k)_proj", "(layers.0|layers.01).*"],
        [r"layers\.(0|11)\.self_attn\.(q|k)_proj", "k_proj"],
        ["(?:self_attn.q_proj|mlp.up_proj)", ".*proj"],
        ["proj", "1.mlp.up_proj"],
        [r"layers.\d+.mlp.up_proj"],
        ["layers.[0-9].mlp.(up|down)_proj"],
        ["q_proj|v_proj", "^lm_head$"],
        [r"h.1.attn\.c_attn"],
    ],
)
def test_the_first_pattern_that_matches_counts_as_in_peft(patterns: list[str]) -> None:
    found = Patterns.of("rank_pattern", {pattern: place for place, pattern in enumerate(patterns)})
    for module in MODULES:
        key = get_pattern_key(patterns, module)
        assert found.value_of(module, -1) == (patterns.index(key) if key in patterns else -1), module
