"""The keys of PEFT 0.21's configs, kind by kind: which are read, which change nothing, which must hold what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Keys that do not change what the stored factors mean.
SILENT: Final = frozenset(
    {
        "auto_mapping",
        # It only chooses where the factors start, and how large each is.
        "eva_config",
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
        "alpha_pattern",
        "base_model_name_or_path",
        "fan_in_fan_out",
        "lora_alpha",
        "peft_type",
        "r",
        "rank_pattern",
        "target_modules",
        "use_rslora",
    }
)
CONVERT: Final = (
    "save it with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...), "
    "which makes a plain LoRA of it"
)
# Keys that must hold one of these values, and what any other would mean.
EXACT: Mapping[str, tuple[tuple[object, ...], str]] = {
    "alora_invocation_tokens": ((None,), "aLoRA switches on in the middle of a prompt"),
    "arrow_config": ((None,), "Arrow routes inside the layer"),
    "bias": (("none", "all", "lora_only"), "PEFT knows no other"),
    "corda_config": ((None,), f"CorDA changes the base weights; {CONVERT}"),
    # PEFT up to 0.2 wrote these two.
    "enable_lora": ((None,), "parts of a merged layer would be left out"),
    "ensure_weight_tying": ((False, None), "tied weights would be updated twice"),
    "init_lora_weights": (
        (True, False, "gaussian", "orthogonal", "eva", "mica"),
        f"other initialisations change the base weights; {CONVERT}",
    ),
    "kasa_config": ((None,), "KaSA changes the base weights"),
    "layer_replication": ((None,), "replicated layers are another base model"),
    "loftq_config": ((None, {}), f"LoftQ changes the base weights; {CONVERT}"),
    "lora_bias": ((False, None, True), "it is switched on or off"),
    "lora_ga_config": ((None,), "LoRA-GA changes the base weights"),
    "megatron_config": ((None,), "Megatron layers are not composed"),
    "merge_weights": ((False, None), "the factors would already be in the base weights"),
    "modules_to_save": (
        (None, []),
        "whole trained modules cannot be mixed by weights; train it without modules_to_save",
    ),
    "monteclora_config": ((None,), "MonteCLoRA samples its update"),
    "target_parameters": ((None, []), "only linear modules are composed, not bare parameters"),
    # Of SEQ_2_SEQ_LM the names of modules and their sizes decide: PEFT wrote decoders' adapters under it.
    "task_type": ((None, "CAUSAL_LM", "SEQ_2_SEQ_LM"), "the base model is a causal language model"),
    "trainable_token_indices": ((None,), "trained token embeddings are not a low-rank update"),
    "use_bdlora": ((None, False), "block-diagonal factors have another shape"),
    "use_dora": ((False, None, True), "it is switched on or off"),
    "use_qalora": ((False, None), "QA-LoRA pools its input"),
    "velora_config": ((None,), "VeLoRA is not composed"),
}


@dataclass(frozen=True)
class Keys:
    """Every key a kind's config may have.

    Attributes:
        silent: They do not change what the stored factors mean.
        read: Their values are used.
        exact: They must hold one of these values; and what any other would mean.
        alpha: What it calls the numerator of its scaling.
    """

    silent: frozenset[str]
    read: frozenset[str]
    exact: Mapping[str, tuple[tuple[object, ...], str]]
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
        (READ - {"fan_in_fan_out", "lora_alpha", "use_rslora"}) | {"alpha"},
        {key: EXACT[key] for key in ("modules_to_save", "task_type")},
        "alpha",
    ),
    "IA3": Keys(
        (SILENT & {"auto_mapping", "exclude_modules", "inference_mode", "peft_version", "revision"})
        # The shape of a gate tells on which side of its module it is.
        | {"feedforward_modules", "init_ia3_weights"},
        READ & {"base_model_name_or_path", "fan_in_fan_out", "peft_type", "target_modules"},
        {key: EXACT[key] for key in ("modules_to_save", "task_type")},
        "alpha",
    ),
}
