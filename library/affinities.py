"""`affinities.json`: how well each adapter of a library answers each of its tasks, in figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loradex.errors import LibraryCorruptError
from loradex.library.manifest import Manifest, list_files, read_verified, write_manifest, write_whole

AFFINITIES = "affinities.json"


class Affinity(BaseModel):
    """`score` of an adapter, from 0 to 1, on `n` rows that no adapter was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: Annotated[float, Field(ge=0, le=1)]
    n: Annotated[int, Field(ge=1, lt=1 << 31)]


Scores = Mapping[str, Mapping[str, Affinity]]
"""Task → task of the adapter → figure."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    scores: dict[str, dict[str, Affinity]]


def read_affinities(directory: Path, manifest: Manifest) -> Scores:
    """The figures of a library; none where nothing was measured.

    Raises:
        LibraryCorruptError: The file is not what the manifest says, or names what the library has not.
    """
    if AFFINITIES not in manifest.files:
        return {}
    path = directory / AFFINITIES
    try:
        scores = _Document.model_validate_json(read_verified(directory, manifest, AFFINITIES)).scores
    except ValidationError as error:
        raise LibraryCorruptError(f"{path}: {error.errors()[0]['msg']}; measure it anew") from None
    for task, own in scores.items():
        stranger = next((name for name in own if name not in manifest.adapters), None)
        if task not in manifest.tasks or stranger is not None:
            raise LibraryCorruptError(f"{path}: the library has no {stranger or task!r}; measure it anew")
    return scores


def write_affinities(directory: Path, manifest: Manifest, scores: Scores) -> None:
    """Put the figures into a library, whole or not at all; its manifest, written after that, lists the new file.

    Figures of adapters that the library does not have are left out. A kill between the two leaves a library that is
    refused until its affinities are written again, and never half a file.
    """
    document = {
        "format": 1,
        "scores": {
            task: {name: own[name].model_dump() for name in sorted(own.keys() & manifest.adapters.keys())}
            for task, own in sorted(scores.items())
            if task in manifest.tasks
        },
    }
    write_whole(directory / AFFINITIES, json.dumps(document, indent=1) + "\n")
    write_manifest(directory, manifest.model_copy(update={"files": list_files(directory)}))
