"""PEFT 0.21's `adapter_config.json`, read strictly: what cannot be composed exactly is refused."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_extras import ALWAYS, EXTRAS, asked_for
from loradex.library.adapter_forms import FORMS, LORA, Form
from loradex.library.adapter_keys import KEYS
from loradex.library.adapter_refused import REFUSED
from loradex.library.adapter_tokens import MAX_INVOCATION, TrainedWords, tokens
from loradex.library.model_json import finite, no_constant, storable, unique_keys
from loradex.library.module_patterns import Patterns

Number = TypeVar("Number", int, float)
_WRITE_AGAIN = "write it again, or fetch it again"

MAX_RANK = 256
MAX_ALPHA = 1_000_000
MAX_TARGETS = 10_000
NO_TEXT = frozenset({"classifier", "pre_classifier", "qa_outputs", "score", "summary", "v_head"})
"""Heads of models that sort or rate texts, by the names that transformers and TRL give them."""
NOTHING: tuple[object, ...] = (None, False, {}, [])
"""What a key holds that says nothing, whatever it is called."""


@dataclass(frozen=True)
class LoraSettings:
    """What Loradex uses of a config; the update of a module is `scaling * B @ A`, or what its form makes of it.

    Attributes:
        base_model: What it calls the model it was trained on; None if it names none.
        targets: Names of the modules that were trained; None where a pattern chose them, so that the stored
            factors tell.
        extras: What may lie beside the factors, by its name in `EXTRAS`.
        words: Those whose vectors were trained.
        whole: Names of modules that were trained whole.
        invoked_by: The tokens from which on it counts (aLoRA, arXiv 2504.12397); none is always.
        left_out: Keys that PEFT 0.21 does not have, and that say nothing here.
    """

    base_model: str | None
    rank: int
    alpha: float
    targets: tuple[str, ...] | None
    ranks: Patterns[int] = field(default_factory=Patterns)
    alphas: Patterns[float] = field(default_factory=Patterns)
    rslora: bool = False
    form: Form = LORA
    extras: frozenset[str] = frozenset()
    words: TrainedWords = field(default_factory=TrainedWords)
    whole: tuple[str, ...] = ()
    invoked_by: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def merges(self) -> tuple[str, ...] | None:
        """What the adapter can be mixed by; None is every merge."""
        only = self.invoked_by or any(EXTRAS[name].cat_only for name in self.extras)
        return ("cat",) if only else self.form.merges

    def rank_of(self, module: str) -> int:
        """The rank of a module's stored factors, by the first pattern of `rank_pattern` that matches its name."""
        return self.ranks.value_of(module, self.rank)

    def scaling_of(self, module: str) -> float:
        """What a module's `B @ A` is multiplied by: alpha / rank, with rsLoRA alpha / √rank (arXiv 2312.03732)."""
        rank = self.rank_of(module)
        alpha = self.alphas.value_of(module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def parse_config(raw: bytes) -> LoraSettings:
    """The settings of a kind that is composed exactly; raises `AdapterRefusedError` for everything else."""
    fields = strict_object(raw, "adapter_config.json")
    form = FORMS.get(str(fields.get("peft_type")))
    if form is None:
        kind = fields.get("peft_type")
        why = REFUSED.get(str(kind), "PEFT 0.21 has no such kind; train a LoRA instead")
        raise AdapterRefusedError(
            f"adapter_config.json: peft_type is {_shown(kind)}, not {' or '.join(FORMS)}: {why}"
        )
    keys = KEYS[form.kind]
    unknown = sorted(fields.keys() - keys.silent - keys.read - keys.exact.keys())
    for key in unknown:
        if not any(_same(fields[key], nothing) for nothing in NOTHING):
            raise AdapterRefusedError(
                f"adapter_config.json: PEFT 0.21's {form.kind} has no key {_shown(key)}, so its effect is unknown; "
                "take it out if it has none, or train it without"
            )
    for key, held in keys.exact.items():
        if key in fields and not any(_same(fields[key], value) for value in held.values):
            raise AdapterRefusedError(
                f"adapter_config.json: {key} = {_shown(fields[key])} cannot be composed exactly: {held.otherwise}; "
                f"{held.cure}"
            )
    # It changes nothing: factors are stored alike, however the base model keeps its weights.
    _switch("fan_in_fan_out", fields)
    rank = partial(_rank, form)
    lora = fields if form is LORA else {}
    words = TrainedWords.of(lora.get("trainable_token_indices"), MAX_RANK)
    whole = _whole(lora.get("modules_to_save"))
    extras = asked_for(fields)
    return LoraSettings(
        base_model=_base_model(fields.get("base_model_name_or_path")),
        # The database wants a rank and an alpha of kinds without factors too.
        rank=rank("r", fields.get("r")) if form.parts else 1,
        alpha=_alpha(keys.alpha, fields.get(keys.alpha)) if form.parts else 1.0,
        targets=_targets(fields.get("target_modules"), may_be_none=bool(words or whole)),
        ranks=_patterns("rank_pattern", fields, rank),
        alphas=_patterns("alpha_pattern", fields, _alpha),
        rslora=_switch("use_rslora", fields),
        form=form,
        extras=extras,
        words=words,
        whole=whole,
        invoked_by=_invocation(lora.get("alora_invocation_tokens"), extras),
        left_out=tuple(unknown),
    )


def strict_object(raw: bytes, name: str) -> dict[str, Any]:
    """A JSON object in UTF-8 that Postgres could store, without repeated keys; `AdapterRefusedError` names the file."""
    try:
        fields = storable(
            json.loads(
                raw.decode("utf-8"),
                object_pairs_hook=unique_keys,
                parse_constant=no_constant,
                parse_float=finite,
            )
        )
    except (ValueError, RecursionError) as error:
        raise AdapterRefusedError(f"{name}: not a JSON object ({error}); {_WRITE_AGAIN}") from error
    if not isinstance(fields, dict):
        raise AdapterRefusedError(f"{name}: not a JSON object; {_WRITE_AGAIN}")
    return fields


def _base_model(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise AdapterRefusedError(
            "adapter_config.json: base_model_name_or_path does not name a base model; "
            "write its name there, or null and say --base-model NAME"
        )
    return value


def _rank(form: Form, key: str, value: object) -> int:
    most = form.stored_rank(MAX_RANK)
    if type(value) is not int or not 1 <= value <= most:
        raise AdapterRefusedError(
            f"adapter_config.json: {key} = {_shown(value)} is not a rank from 1 to {most}; train it with one"
        )
    return value


def _alpha(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_ALPHA:
        raise AdapterRefusedError(
            f"adapter_config.json: {key} = {_shown(value)} is not a number above 0 and up to {MAX_ALPHA}; "
            "train it with one"
        )
    return float(value)


def _targets(value: object, *, may_be_none: bool) -> tuple[str, ...] | None:
    if (isinstance(value, str) and value) or (may_be_none and value in (None, [])):
        return None
    return _names("target_modules", value, 1)


def _names(key: str, value: object, least: int) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not least <= len(value) <= MAX_TARGETS
        or not all(isinstance(name, str) and name and "\0" not in name for name in value)
    ):
        raise AdapterRefusedError(
            f"adapter_config.json: {key} = {_shown(value)} must be a list of {least} to {MAX_TARGETS} module "
            "names, or a pattern of target_modules; write down the modules that were trained"
        )
    return tuple(sorted(set(value)))


def _whole(value: object) -> tuple[str, ...]:
    names = _names("modules_to_save", value or [], 0)
    other = sorted(NO_TEXT.intersection(names))
    if other:
        raise AdapterRefusedError(
            f"adapter_config.json: modules_to_save names {', '.join(other)}, which writes no text; train it with "
            "task_type CAUSAL_LM"
        )
    return names


def _invocation(value: object, extras: frozenset[str]) -> tuple[int, ...]:
    if value is None:
        return ()
    beside = sorted(extras - ALWAYS)
    if beside:
        raise AdapterRefusedError(
            "adapter_config.json: alora_invocation_tokens are taken of plain factors alone, and this adapter has "
            f"{', '.join(beside)} too; train it without one of the two"
        )
    return tokens("alora_invocation_tokens", value, MAX_INVOCATION)


def _patterns(key: str, fields: Mapping[str, Any], read: Callable[[str, object], Number]) -> Patterns[Number]:
    value = fields.get(key)
    if value is None:
        return Patterns()
    if not isinstance(value, dict):
        raise AdapterRefusedError(
            f"adapter_config.json: {key} = {_shown(value)} must give numbers by module names; "
            "write it so, or leave it empty"
        )
    return Patterns.of(key, {name: read(key, number) for name, number in value.items()})


def _switch(key: str, fields: Mapping[str, Any]) -> bool:
    value = fields.get(key)
    if value is not None and type(value) is not bool:
        raise AdapterRefusedError(
            f"adapter_config.json: {key} = {_shown(value)} must be true or false; set it so"
        )
    return bool(value)


def _same(value: object, allowed: object) -> bool:
    return type(value) is type(allowed) and value == allowed


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004
