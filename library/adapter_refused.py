"""PEFT 0.21's other kinds of adapters, which are refused: why, and what would make one acceptable."""

from collections.abc import Mapping
from typing import Final

_CONVERT: Final = (
    "its updates are not composed; save it with PEFT's save_as_lora, which makes a LoRA of it that is near it"
)
_PROMPT: Final = "it adds to what the model reads and changes no weights; train a LoRA instead"
_MULTIPLY: Final = "it multiplies what modules say, and products do not add up; train a LoRA instead"
_OTHER: Final = "no exact sum of it is known here; train a LoRA instead"

CONVERTIBLE: Final = (
    "C3A",
    "DELORA",
    "FOURIERFT",
    "GRALORA",
    "HIRA",
    "LOKR",
    "MISS",
    "PSOFT",
    "RANDLORA",
    "SHIRA",
    "TINYLORA",
    "UNILORA",
    "VBLORA",
    "VERA",
)
PROMPTING: Final = (
    "ADAPTION_PROMPT",
    "CARTRIDGE",
    "CPT",
    "MULTITASK_PROMPT_TUNING",
    "PREFIX_TUNING",
    "PROMPT_TUNING",
    "P_TUNING",
)
MULTIPLYING: Final = ("BOFT", "HRA", "OFT", "ROAD")
OTHERS: Final = (
    "ADALORA",
    "ADAMSS",
    "BEFT",
    "DEFT",
    "FROD",
    "GLORA",
    "LILY",
    "LN_TUNING",
    "OSF",
    "PEANUT",
    "POLY",
    "PVERA",
    "SHADOW",
    "SUPERTUNING",
    "TRAINABLE_TOKENS",
    "WAVEFT",
    "XLORA",
)

REFUSED: Final[Mapping[str, str]] = {
    kind: reason
    for kinds, reason in (
        (CONVERTIBLE, _CONVERT),
        (PROMPTING, _PROMPT),
        (MULTIPLYING, _MULTIPLY),
        (OTHERS, _OTHER),
    )
    for kind in kinds
}
"""By `peft_type`."""
