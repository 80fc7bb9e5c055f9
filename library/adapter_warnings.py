"""What somebody should know about an adapter that is taken."""

from collections.abc import Iterable, Iterator

from loradex.library.adapter_config import LoraSettings
from loradex.library.adapter_factors import Contents

# Root mean squares: trained weights 0.02 to 0.2, updates by LoRA 0.001; as large as weights is absurd.
ABSURD_RMS = 0.02
BESIDE_FACTORS = frozenset({"magnitude", "whole", "words"})
SHOWN = 200


def warnings_of(
    settings: LoraSettings, contents: Contents, targets: Iterable[str], norm: float, rms: float
) -> Iterator[str]:
    """Sentences about what its config and its weights say; `rms` is the root mean square of its update."""
    unused = sorted(set(settings.targets or ()) - set(targets))
    if unused:
        yield f"target_modules names {_listed(unused)}, which have no factors"
    if rms > ABSURD_RMS:
        yield f"its update has a root mean square of {rms:.3g}: as large as a model's own weights"
    if norm == 0 and not contents.more:
        yield "its update is zero: it answers as the base model does"
    whole = [module.split(".") for module, extras in contents.extras.items() if "whole" in extras]
    absent = [name for name in settings.whole if not any(name in parts for parts in whole)]
    if absent:
        yield f"modules_to_save names {_listed(absent)}, which have no weights; the base model's answer"
    if settings.left_out:
        yield f"PEFT 0.21 does not know {_listed(settings.left_out)}, which say nothing here and are left out"
    if any(BESIDE_FACTORS & extras.keys() for extras in contents.extras.values()):
        yield "its norm is that of its factors; what it makes of the base model's weights comes on top"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)[:SHOWN]
