"""Tensors that may lie beside a module's factors: what each is, which key of the config asks for it, and its shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Extra:
    """A kind of tensor that is no factor.

    Attributes:
        parts: Its names behind the module's.
        asked: Whether a config asks for it; a function of the config's fields.
        shapes: Its shapes for a weight of `(d_out, d_in)` and so many words, any of which is right.
        cat_only: An adapter that has it is mixed by `cat` alone.
        called: What the page calls an adapter that has it; nothing where the page does not name it.
        about: A line for the page.
        forms: The kinds it may lie in.
        without: What to say of one that the config does not ask for, behind the tensor's name.
    """

    parts: tuple[str, ...]
    asked: Callable[[Mapping[str, Any]], bool]
    shapes: Callable[[int, int, int], tuple[Shape, ...]]
    cat_only: bool
    without: str
    called: str = ""
    about: str = ""
    forms: frozenset[str] = frozenset({"LORA"})


EXTRAS: Final[Mapping[str, Extra]] = {
    # PEFT saves the base model's own weights beside factors of a head or an embedding.
    "copy": Extra(
        ("base_layer.weight",),
        lambda _: True,
        # An embedding's weight is kept the other way round.
        lambda d_out, d_in, _: ((d_out, d_in), (d_in, d_out)),
        cat_only=False,
        without="is a copy of the base model's own weights; save it without",
    ),
    "whole": Extra(
        ("weight", "modules_to_save.weight"),
        lambda fields: bool(fields.get("modules_to_save")),
        lambda d_out, d_in, _: ((d_out, d_in), (d_in, d_out)),
        cat_only=True,
        without="is not a lora_A or lora_B of a linear module; save it with PEFT's save_pretrained",
        called="`modules_to_save`",
        about="the head, the embedding or linear modules were trained whole",
    ),
    "words": Extra(
        ("token_adapter.trainable_tokens_delta",),
        lambda fields: bool(fields.get("trainable_token_indices")),
        # Of an embedding or of a head.
        lambda d_out, d_in, words: ((words, d_out), (words, d_in)),
        cat_only=True,
        without="has vectors of words, and trainable_token_indices names none; save it with PEFT's save_pretrained",
        called="`trainable_token_indices`",
        about="vectors of up to 256 words were trained; a tied head has them too",
    ),
    "magnitude": Extra(
        ("lora_magnitude_vector.weight", "lora_magnitude_vector"),
        lambda fields: bool(fields.get("use_dora")),
        lambda d_out, _, __: ((d_out,), (1, d_out)),
        cat_only=True,
        without="belongs to DoRA, and use_dora is not set; set it to true",
        called="`use_dora`",
        about="a gate on the output of each module beside a low-rank update (DoRA, arXiv 2402.09353)",
    ),
    "update bias": Extra(
        ("lora_B.bias",),
        lambda fields: bool(fields.get("lora_bias")),
        lambda d_out, _, __: ((d_out,),),
        cat_only=True,
        without="is a bias of an update, and lora_bias is not set; set it to true",
        called="`lora_bias`",
        about="B has a bias, which is scaled as B A is",
    ),
    "bias": Extra(
        ("base_layer.bias", "bias", "modules_to_save.bias"),
        lambda fields: fields.get("bias") in ("all", "lora_only") or bool(fields.get("modules_to_save")),
        lambda d_out, _, __: ((d_out,),),
        cat_only=True,
        without='is a trained bias, and bias is "none"; set it to "lora_only" or "all"',
        called='`bias` of `"all"` or `"lora_only"`',
        about='biases of linear modules, and with `"all"` of norms, were trained',
    ),
    "gate": Extra(
        ("ia3_l",),
        lambda _: True,
        lambda d_out, d_in, _: ((d_out, 1), (1, d_in)),
        cat_only=True,
        without="is a gate of IA3; set peft_type to IA3",
        forms=frozenset({"IA3"}),
    ),
}
"""By a name of our own, in the order in which a worker applies them."""
ALWAYS: Final = frozenset({"copy"})
"""Those that any adapter may have."""


def asked_for(fields: Mapping[str, Any]) -> frozenset[str]:
    """The extras that a config asks for."""
    kind = fields.get("peft_type")
    return frozenset(name for name, extra in EXTRAS.items() if kind in extra.forms and extra.asked(fields))
