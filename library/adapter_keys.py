"""The keys of PEFT 0.21's configs, kind by kind: which are read, which change nothing, which must hold what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Keys that do not change what the stored factors mean.
SILENT: Final = frozenset(
    {
        "auto_mapping",
        # These four say how factors start; which of the ways it was stands in init_lora_weights.
        "corda_config",
        "eva_config",
        "loftq_config",
        "lora_ga_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
    }
)
READ: Final = frozenset(
    {
        "alora_invocation_tokens",
        "alpha_pattern",
        "base_model_name_or_path",
        "fan_in_fan_out",
        "lora_alpha",
        "modules_to_save",
        "peft_type",
        "r",
        "rank_pattern",
        "target_modules",
        "trainable_token_indices",
        "use_rslora",
    }
)


@dataclass(frozen=True)
class Held:
    """What a key must hold.

    Attributes:
        values: Any of these.
        otherwise: What another value would mean.
        cure: What would make the adapter acceptable.
    """

    values: tuple[object, ...]
    otherwise: str
    cure: str


_OFF: Final = (None, False)
_AGAIN: Final = "train it without"
_CONVERT: Final = (
    "save it with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...), which makes a plain "
    "LoRA of it"
)
_SWITCH: Final = "set it to true or false"
EXACT: Final[Mapping[str, Held]] = {
    "arrow_config": Held((None,), "Arrow routes inside the layer", "register the adapters that it routes to"),
    "bias": Held(
        ("none", "all", "lora_only"), "PEFT knows no other", 'set it to "none" if no biases were trained'
    ),
    # PEFT up to 0.2 wrote this and merge_weights.
    "enable_lora": Held(
        (None,), "parts of a merged layer would be left out", f"{_AGAIN}, or name whole modules as targets"
    ),
    "ensure_weight_tying": Held(_OFF, "tied weights would be updated twice", _AGAIN),
    "init_lora_weights": Held(
        (None, True, False, "gaussian", "orthogonal", "eva", "mica"),
        "other initialisations change the base weights",
        f"{_CONVERT}; of LoftQ, register the base model that it left, and set this to true",
    ),
    "kasa_config": Held((None,), "KaSA changes the base weights", _AGAIN),
    "layer_replication": Held(
        (None,), "replicated layers are another base model", "save and register the replicated model as one"
    ),
    "lora_bias": Held((*_OFF, True), "it is switched on or off", _SWITCH),
    "megatron_config": Held((None,), "Megatron layers are split over machines", "save it for transformers"),
    "merge_weights": Held(
        _OFF, "the factors would already be in the base weights", "save it unmerged, and set this to false"
    ),
    "monteclora_config": Held((None,), "MonteCLoRA samples its update", _AGAIN),
    "target_parameters": Held(
        (None, []), "only linear modules are composed, not bare parameters", f"{_AGAIN}, with target_modules"
    ),
    # Of SEQ_2_SEQ_LM the names of modules and their sizes decide: PEFT wrote decoders' adapters under it.
    "task_type": Held(
        (None, "CAUSAL_LM", "SEQ_2_SEQ_LM"),
        "the base model is a causal language model, and writes texts",
        "train it with task_type CAUSAL_LM",
    ),
    "use_bdlora": Held(_OFF, "block-diagonal factors have another shape", _AGAIN),
    "use_dora": Held((*_OFF, True), "it is switched on or off", _SWITCH),
    "use_qalora": Held(_OFF, "QA-LoRA pools its input", _AGAIN),
    "velora_config": Held((None,), "VeLoRA packs what its layers are given", _AGAIN),
}
"""Keys that must hold one of some values."""
NOT_WHOLE: Final = Held(
    (None, []), "whole modules are taken of LoRA alone", "train it without modules_to_save, or as LoRA"
)


@dataclass(frozen=True)
class Keys:
    """Every key a kind's config may have.

    Attributes:
        silent: They do not change what the stored factors mean.
        read: Their values are used.
        exact: What they must hold.
        alpha: What it calls the numerator of its scaling.
    """

    silent: frozenset[str]
    read: frozenset[str]
    exact: Mapping[str, Held]
    alpha: str


KEYS: Final[Mapping[str, Keys]] = {
    "LORA": Keys(SILENT, READ, EXACT, "lora_alpha"),
    "LOHA": Keys(
        (
            SILENT
            & {"auto_mapping", "exclude_modules", "inference_mode", "layers_pattern", "layers_to_transform"}
        )
        | {
            "init_weights",
            "module_dropout",
            "peft_version",
            "rank_dropout",
            "revision",
            "use_effective_conv2d",
        },
        (
            READ
            & {"alpha_pattern", "base_model_name_or_path", "peft_type", "r", "rank_pattern", "target_modules"}
        )
        | {"alpha"},
        {"modules_to_save": NOT_WHOLE, "task_type": EXACT["task_type"]},
        "alpha",
    ),
    "IA3": Keys(
        (SILENT & {"auto_mapping", "exclude_modules", "inference_mode", "peft_version", "revision"})
        # The shape of a gate tells on which side of its module it is.
        | {"feedforward_modules", "init_ia3_weights"},
        READ & {"base_model_name_or_path", "fan_in_fan_out", "peft_type", "target_modules"},
        {"modules_to_save": NOT_WHOLE, "task_type": EXACT["task_type"]},
        "alpha",
    ),
}
