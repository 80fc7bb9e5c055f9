"""PEFT 0.21's `adapter_config.json`, read strictly: what cannot be composed exactly is refused."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from loradex.errors import AdapterRefusedError
from loradex.library.model_json import no_constant, unique_keys
from loradex.library.module_patterns import Patterns

Number = TypeVar("Number", int, float)

MAX_RANK = 256
MAX_ALPHA = 1_000_000
MAX_TARGETS = 10_000

# Keys that do not change what the stored factors mean.
SILENT = frozenset(
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
READ = frozenset(
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
CONVERT = (
    "save it with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...), "
    "which makes a plain LoRA of it"
)
# Keys that must hold one of these values, and what any other would mean.
EXACT: Mapping[str, tuple[tuple[object, ...], str]] = {
    "alora_invocation_tokens": ((None,), "aLoRA switches on in the middle of a prompt"),
    "arrow_config": ((None,), "Arrow routes inside the layer"),
    "bias": (("none",), "trained biases are not a low-rank update"),
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
    "lora_bias": ((False, None), "a bias in lora_B is not a low-rank update"),
    "lora_ga_config": ((None,), "LoRA-GA changes the base weights"),
    "megatron_config": ((None,), "Megatron layers are not composed"),
    "merge_weights": ((False, None), "the factors would already be in the base weights"),
    "modules_to_save": (
        (None, []),
        "whole trained modules cannot be mixed by weights; train it without modules_to_save",
    ),
    "monteclora_config": ((None,), "MonteCLoRA samples its update"),
    "target_parameters": ((None, []), "only linear modules are composed, not bare parameters"),
    "task_type": ((None, "CAUSAL_LM"), "the base model is a causal language model"),
    "trainable_token_indices": ((None,), "trained token embeddings are not a low-rank update"),
    "use_bdlora": ((None, False), "block-diagonal factors have another shape"),
    "use_dora": ((False, None), "DoRA's magnitudes do not add up"),
    "use_qalora": ((False, None), "QA-LoRA pools its input"),
    "velora_config": ((None,), "VeLoRA is not composed"),
}


@dataclass(frozen=True)
class LoraSettings:
    """What Loradex uses of a config; the update of a module is `scaling * B @ A`.

    Attributes:
        base_model: What it calls the model it was trained on; None if it names none.
        targets: Names of the modules that were trained; None where a pattern chose them, so that the stored
            factors tell.
        transposed: The base model keeps its weights as `[d_in, d_out]` (GPT-2's `Conv1D`).
    """

    base_model: str | None
    rank: int
    alpha: float
    targets: tuple[str, ...] | None
    ranks: Patterns[int] = field(default_factory=Patterns)
    alphas: Patterns[float] = field(default_factory=Patterns)
    rslora: bool = False
    transposed: bool = False

    def rank_of(self, module: str) -> int:
        """The rank of a module's factors, by the first pattern of `rank_pattern` that matches its name."""
        return self.ranks.value_of(module, self.rank)

    def scaling_of(self, module: str) -> float:
        """What a module's `B @ A` is multiplied by: alpha / rank, with rsLoRA alpha / √rank (arXiv 2312.03732)."""
        rank = self.rank_of(module)
        alpha = self.alphas.value_of(module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


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
        rank=_rank("r", fields.get("r")),
        alpha=_alpha("lora_alpha", fields.get("lora_alpha")),
        targets=_targets(fields.get("target_modules")),
        ranks=_patterns("rank_pattern", fields, _rank),
        alphas=_patterns("alpha_pattern", fields, _alpha),
        rslora=_switch("use_rslora", fields),
        transposed=_switch("fan_in_fan_out", fields),
    )


def strict_object(raw: bytes, name: str) -> dict[str, Any]:
    """A JSON object in UTF-8 without repeated keys, NaN or infinity; `AdapterRefusedError` names the file."""
    try:
        fields = json.loads(raw.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise AdapterRefusedError(f"{name}: not a JSON object ({error})") from error
    if not isinstance(fields, dict):
        raise AdapterRefusedError(f"{name}: not a JSON object")
    return fields


def _base_model(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise AdapterRefusedError("adapter_config.json: base_model_name_or_path does not name a base model")
    return value


def _rank(key: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_RANK:
        raise AdapterRefusedError(
            f"adapter_config.json: {key} = {_shown(value)} is not a rank from 1 to {MAX_RANK}"
        )
    return value


def _alpha(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_ALPHA:
        raise AdapterRefusedError(
            f"adapter_config.json: {key} = {_shown(value)} is not a number above 0 and up to {MAX_ALPHA}"
        )
    return float(value)


def _targets(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str) and value:
        return None
    if (
        not isinstance(value, list)
        or not 1 <= len(value) <= MAX_TARGETS
        or not all(isinstance(name, str) and name and "\0" not in name for name in value)
    ):
        raise AdapterRefusedError(
            f"adapter_config.json: target_modules = {_shown(value)} must be a list of 1 to {MAX_TARGETS} module "
            "names, or a pattern of them"
        )
    return tuple(sorted(set(value)))


def _patterns(key: str, fields: Mapping[str, Any], read: Callable[[str, object], Number]) -> Patterns[Number]:
    value = fields.get(key)
    if value is None:
        return Patterns()
    if not isinstance(value, dict):
        raise AdapterRefusedError(
            f"adapter_config.json: {key} = {_shown(value)} must give numbers by module names"
        )
    return Patterns.of(key, {name: read(key, number) for name, number in value.items()})


def _switch(key: str, fields: Mapping[str, Any]) -> bool:
    value = fields.get(key)
    if value is not None and type(value) is not bool:
        raise AdapterRefusedError(f"adapter_config.json: {key} = {_shown(value)} must be true or false")
    return bool(value)


def _same(value: object, allowed: object) -> bool:
    return type(value) is type(allowed) and value == allowed


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004
