"""Builds a library's vectors and manifest from training examples and finished adapters."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loradex.errors import LibraryCorruptError
from loradex.library.adapter_files import inspect
from loradex.library.cards import TaskCard
from loradex.library.manifest import (
    EXAMPLES,
    AdapterEntry,
    BaseModelEntry,
    EncoderEntry,
    Manifest,
    card_hash,
    list_files,
    write_manifest,
)
from loradex.library.rendered import RenderedExample
from loradex.library.vector_file import ExampleVectors, write_vectors
from loradex.library.vectors import Vectors

ADAPTERS = "adapters"


@dataclass(frozen=True)
class LibrarySpec:
    """What a library is built for: its models, and the cards its texts were rendered with."""

    base_model: BaseModelEntry
    encoder: EncoderEntry
    cards: Mapping[str, TaskCard]


def choose_examples(rows: Sequence[RenderedExample], per_task: int, seed: int) -> list[RenderedExample]:
    """At most `per_task` rows of each task, drawn at random but the same for the same seed, sorted."""
    by_task: dict[str, list[RenderedExample]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)

    def draw(row: RenderedExample) -> bytes:
        return hashlib.sha256(f"{seed}\0{row.task}\0{row.source_ref}".encode()).digest()

    chosen = [row for own in by_task.values() for row in sorted(own, key=draw)[:per_task]]
    return sorted(chosen, key=lambda row: (row.task, row.source_ref))


def build_library(
    directory: Path,
    spec: LibrarySpec,
    rows: Sequence[RenderedExample],
    vectors: Mapping[str, Vectors],
) -> Manifest:
    """Write `examples.parquet` and `manifest.json` beside the adapters in `directory`/adapters/<task>.

    `vectors` are by prompt, float32 `[dimensions]`. No text of an example is written.

    Raises:
        LibraryCorruptError: An adapter has no task card.
        AdapterRefusedError: An adapter cannot be composed.
    """
    write_vectors(
        directory / EXAMPLES,
        ExampleVectors(
            tasks=[row.task for row in rows],
            source_refs=[row.source_ref for row in rows],
            sha256=[row.sha256 for row in rows],
            vectors=np.stack([vectors[row.prompt] for row in rows]),
        ),
    )
    adapters = {}
    for place in sorted(
        path for path in (directory / ADAPTERS).iterdir() if path.is_dir() and path.name != "checkpoints"
    ):
        if place.name not in spec.cards:
            raise LibraryCorruptError(f"{place}: there is no task card {place.name}")
        facts = inspect(place, spec.base_model.name)
        adapters[place.name] = AdapterEntry(
            name=place.name, directory=place.relative_to(directory).as_posix(), sha256=facts.sha256
        )
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.task] = counts.get(row.task, 0) + 1
    manifest = Manifest(
        format=1,
        base_model=spec.base_model,
        encoder=spec.encoder,
        tasks={task: card_hash(spec.cards[task]) for task in sorted(adapters.keys() | counts.keys())},
        adapters=adapters,
        examples=counts,
        files=list_files(directory),
    )
    write_manifest(directory, manifest)
    return manifest
