"""Whether what an adapter's config calls its base model is the base model at hand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Copies of one model in fewer bits, as their publishers name them; the adapter's shapes are those of the original.
BITS = r"(?:bnb|awq|gptq|hqq|gguf|exl2|fp8|nf4|int[48]|w[48]a(?:8|16)|[48]bit)"
QUANTISED = re.compile(rf"(?:-unsloth)?(?:-quantized)?(?:[-.]{BITS})+(?:-dynamic|-g?\d{{2,3}}g?)?$")
# `models--<organisation>--<name>/snapshots/<commit>`: where a hub's cache keeps a model.
CACHED = re.compile(r"(?:^|/)models--(?P<name>[^/]+)(?:/snapshots/[^/]+)?$")
# `<model>/<framework>/<variation>/<version>`: where Kaggle keeps one.
KAGGLE = re.compile(r"(?:^|/)(?P<model>[^/]+)/(?:transformers|pytorch)/(?P<variation>[^/]+)/\d+$")
VERSION = re.compile(r"\d+$")


@dataclass(frozen=True)
class NameMatch:
    """That two names mean one model; `warning` is what somebody should know about it."""

    warning: str | None = None


def matched(
    configured: str | None, base_model: str, aliases: frozenset[str] = frozenset()
) -> NameMatch | None:
    """Whether a path or hub name means `base_model`, letters' case aside; None if it does not.

    The last part of a path is the name. Hub caches, ModelScope (`___` for a dot) and Kaggle (a number of the version
    at the end) write it otherwise, and a quantised copy has another name for the same shapes. `aliases` are other names
    of the model, in small letters: whole ones such as `org/name`, or last parts.
    """
    if configured is None:
        return None
    path = configured.replace("\\", "/").rstrip("/")
    wanted = aliases | {base_model.casefold()}
    if path.lower() in aliases:
        return NameMatch()
    for name in _names(path):
        if name in wanted:
            return NameMatch()
        if QUANTISED.sub("", name) in wanted:
            return NameMatch(
                f"it was trained on {configured}, a quantised copy; on {base_model} it answers a little otherwise"
            )
    return None


def is_local(configured: str | None) -> bool:
    """Whether it is no name of a hub: nothing at all, or a folder of whoever trained the adapter."""
    if configured is None:
        return True
    path = configured.replace("\\", "/")
    return (
        path.startswith(("/", ".", "~")) or re.match(r"[A-Za-z]:/", path) is not None or path.count("/") > 1
    )


def _names(path: str) -> Iterator[str]:
    cached = CACHED.search(path)
    if cached is not None:
        path = cached["name"].replace("--", "/")
    parts = [part.replace("___", ".").casefold() for part in path.split("/")]
    yield parts[-1]
    kept = KAGGLE.search(path.casefold())
    if kept is not None:
        yield kept["model"] if kept["variation"] == "default" else f"{kept['model']}-{kept['variation']}"
    if VERSION.fullmatch(parts[-1]) and len(parts) > 1:
        yield parts[-2]
