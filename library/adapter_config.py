"""PEFT 0.21's `adapter_config.json`, read strictly: what cannot be composed exactly is refused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loradex.errors import AdapterRefusedError
from loradex.library.model_json import unique_keys

MAX_RANK = 256
MAX_ALPHA = 1_000_000
MAX_TARGETS = 64

# Keys that do not change what the stored factors mean.
SILENT = frozenset(
    {
        "auto_mapping",
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
READ = frozenset({"base_model_name_or_path", "lora_alpha", "peft_type", "r", "target_modules"})
# Keys that must hold one of these values, and what any other would mean.
EXACT: Mapping[str, tuple[tuple[object, ...], str]] = {
    "alora_invocation_tokens": ((None,), "aLoRA switches on in the middle of a prompt"),
    "alpha_pattern": ((None, {}), "one alpha must hold for all modules"),
    "arrow_config": ((None,), "Arrow routes inside the layer"),
    "bias": (("none",), "trained biases are not a low-rank update"),
    "corda_config": ((None,), "CorDA changes the base weights"),
    "ensure_weight_tying": ((False, None), "tied weights would be updated twice"),
    "eva_config": ((None,), "EVA spreads different ranks over the modules"),
    "fan_in_fan_out": ((False, None), "the base model's weights would be transposed"),
    "init_lora_weights": (
        (True, False, "gaussian", "orthogonal"),
        "other initialisations change the base weights",
    ),
    "kasa_config": ((None,), "KaSA changes the base weights"),
    "layer_replication": ((None,), "replicated layers are another base model"),
    "loftq_config": ((None, {}), "LoftQ changes the base weights"),
    "lora_bias": ((False, None), "a bias in lora_B is not a low-rank update"),
    "lora_ga_config": ((None,), "LoRA-GA changes the base weights"),
    "megatron_config": ((None,), "Megatron layers are not composed"),
    "modules_to_save": ((None, []), "whole trained modules cannot be mixed by weights"),
    "monteclora_config": ((None,), "MonteCLoRA samples its update"),
    "rank_pattern": ((None, {}), "one rank must hold for all modules"),
    "target_parameters": ((None, []), "only linear modules are composed, not bare parameters"),
    "task_type": ((None, "CAUSAL_LM"), "the base model is a causal language model"),
    "trainable_token_indices": ((None,), "trained token embeddings are not a low-rank update"),
    "use_bdlora": ((None, False), "block-diagonal factors have another shape"),
    "use_dora": ((False, None), "DoRA's magnitudes do not add up"),
    "use_qalora": ((False, None), "QA-LoRA pools its input"),
    "use_rslora": ((False, None), "rsLoRA scales by the root of the rank"),
    "velora_config": ((None,), "VeLoRA is not composed"),
}


@dataclass(frozen=True)
class LoraSettings:
    """What Loradex uses of a config; the update of a module is `alpha / rank * B @ A`."""

    base_model: str
    rank: int
    alpha: float
    target_modules: tuple[str, ...]

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank


def parse_config(raw: bytes) -> LoraSettings:
    """The settings of a plain LoRA; raises `AdapterRefusedError` for everything else."""
    fields = strict_object(raw, "adapter_config.json")
    if fields.get("peft_type") != "LORA":
        raise AdapterRefusedError(
            f"adapter_config.json: peft_type is {_shown(fields.get('peft_type'))}, not LORA"
        )
    unknown = sorted(fields.keys() - SILENT - READ - EXACT.keys())
    if unknown:
        raise AdapterRefusedError(
            f"adapter_config.json: PEFT 0.21's LoRA has no key {_shown(unknown[0])}, so its effect is unknown"
        )
    for key, (allowed, reason) in EXACT.items():
        if key in fields and not any(_same(fields[key], value) for value in allowed):
            raise AdapterRefusedError(
                f"adapter_config.json: {key} = {_shown(fields[key])} cannot be composed exactly: {reason}"
            )
    return LoraSettings(
        base_model=_base_model(fields.get("base_model_name_or_path")),
        rank=_rank(fields.get("r")),
        alpha=_alpha(fields.get("lora_alpha")),
        target_modules=_targets(fields.get("target_modules")),
    )


def strict_object(raw: bytes, name: str) -> dict[str, Any]:
    """A JSON object in UTF-8 without repeated keys, NaN or infinity; `AdapterRefusedError` names the file."""
    try:
        fields = json.loads(raw.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise AdapterRefusedError(f"{name}: not a JSON object ({error})") from error
    if not isinstance(fields, dict):
        raise AdapterRefusedError(f"{name}: not a JSON object")
    return fields


def is_named(configured: str, base_model: str) -> bool:
    """Whether a path or hub name means this base model: its last part, letters' case aside, is the name."""
    return configured.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].casefold() == base_model.casefold()


def _base_model(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise AdapterRefusedError("adapter_config.json: base_model_name_or_path does not name a base model")
    return value


def _rank(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_RANK:
        raise AdapterRefusedError(
            f"adapter_config.json: r = {_shown(value)} is not a rank from 1 to {MAX_RANK}"
        )
    return value


def _alpha(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_ALPHA:
        raise AdapterRefusedError(
            f"adapter_config.json: lora_alpha = {_shown(value)} is not a number above 0 and up to {MAX_ALPHA}"
        )
    return float(value)


def _targets(value: object) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not 1 <= len(value) <= MAX_TARGETS
        or not all(isinstance(name, str) and name and "\0" not in name for name in value)
    ):
        raise AdapterRefusedError(
            f"adapter_config.json: target_modules = {_shown(value)} must be a list of module names"
        )
    return tuple(sorted(set(value)))


def _same(value: object, allowed: object) -> bool:
    return type(value) is type(allowed) and value == allowed


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
