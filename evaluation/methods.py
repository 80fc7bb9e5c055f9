"""What answers a test row: methods of a job, and rivals' ways to choose adapters under the same protocol."""

from collections.abc import Sequence

from loradex.errors import UnknownNameError
from loradex.evaluation.plan import FIXED
from loradex.worker.engine.recipe import TRIMMING

JOB_METHODS = (
    *FIXED,
    "top1",
    "uniform",
    "linear",
    "cat",
    "ties",
    "magnitude_prune",
    "calibrated_linear",
    "calibrated_cat",
    "calibrated_ties",
    "calibrated_magnitude_prune",
    "affinity",
    "affinity_calibrated_cat",
)
EXTRA = ("affinity_linear", "affinity_magnitude_prune")
"""Behind the other affinity methods on held-out rows; measured where they are named, not by `all`."""
ROUTING = ("k", "top_p", "temperature")
RIVALS = ("centroid", "lora_retriever")
"""The three tasks whose mean vectors are nearest, mixed in output space: by a softmax of the
similarities as in LoRAuter, or with equal weights as in LoraRetriever."""
ALL = (*JOB_METHODS, *RIVALS)
METHODS = (*JOB_METHODS, *EXTRA, *RIVALS)
BASELINES = ("uniform", "top1", "centroid", "lora_retriever")
"""What a merged method has to be ahead of."""
MERGED = tuple(method for method in (*JOB_METHODS, *EXTRA) if method not in {*FIXED, "top1", "uniform"})


def defaults_read_by(method: str) -> tuple[str, ...]:
    """Options of the routing that a figure of the method depends on.

    Not among them: `normalization`, which every question takes from its card, and `choice_prior`, since marks are made
    of the scores before it.
    """
    if method in {*FIXED, *RIVALS}:
        return ()
    return (
        (*ROUTING, "density")
        if method.removeprefix("calibrated_").removeprefix("affinity_") in TRIMMING
        else ROUTING
    )


def chosen_methods(text: str) -> tuple[str, ...]:
    """Methods by a list with commas; `all` is `ALL`.

    Raises:
        UnknownNameError: There is no such method.
    """
    return ALL if text.strip() == "all" else chosen_names("method", text, METHODS)


def chosen_names(what: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Names by a list with commas, each once.

    Raises:
        UnknownNameError: One is not known, or there is none.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names or ("",):
        if name not in known:
            raise UnknownNameError(f"no {what} {name!r}; use {', '.join(known)}")
    return names
