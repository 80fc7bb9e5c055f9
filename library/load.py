"""A library into the database: everything is checked before anything is written, and all of it or none is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from loradex.errors import AdapterRefusedError, ExampleConflictError, LibraryCorruptError
from loradex.library.adapter_files import AdapterFacts, inspect
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.adapter_store import AdapterStore, Wanted
from loradex.library.affinities import Scores, read_affinities
from loradex.library.cards import TaskCard
from loradex.library.example_store import ExampleStore, NewExample, conflict
from loradex.library.manifest import (
    EXAMPLES,
    Manifest,
    check_cards,
    read_manifest,
    read_verified,
    verify_files,
)
from loradex.library.model_store import ModelStore
from loradex.library.vector_file import ExampleVectors, read_vectors

CHUNK = 500


@dataclass(frozen=True)
class Library:
    """A library on disk whose every file was found to be what the manifest says."""

    directory: Path
    manifest: Manifest
    adapters: Mapping[str, AdapterFacts]
    examples: ExampleVectors
    affinities: Scores


@dataclass(frozen=True)
class LoadReport:
    """What loading a library did; of the adapters that were present some are looked for elsewhere."""

    adapters_added: int
    adapters_present: int
    examples_added: int
    examples_present: int
    adapters_elsewhere: int = 0


def open_library(directory: Path, cards: Mapping[str, TaskCard]) -> Library:
    """Read and check a whole library, without a database.

    Raises:
        LibraryCorruptError: A file is missing, truncated, swapped or malformed; the text names it.
    """
    manifest = read_manifest(directory)
    verify_files(directory, manifest)
    check_cards(directory, manifest, cards)
    examples = read_vectors(
        read_verified(directory, manifest, EXAMPLES), manifest.encoder.dimensions, str(directory / EXAMPLES)
    )
    counts: dict[str, int] = {}
    for task in examples.tasks:
        counts[task] = counts.get(task, 0) + 1
    if counts != manifest.examples:
        raise LibraryCorruptError(f"{directory / EXAMPLES}: its rows a task are not those of the manifest")
    adapters = {}
    for task, entry in manifest.adapters.items():
        try:
            facts = inspect(directory / entry.directory, manifest.base_model.name)
        except AdapterRefusedError as error:
            raise LibraryCorruptError(str(error)) from error
        if facts.sha256 != entry.sha256:
            raise LibraryCorruptError(
                f"{directory / entry.directory}: its content hash is not the manifest's"
            )
        adapters[task] = facts
    return Library(directory, manifest, adapters, examples, read_affinities(directory, manifest))


def load_library(
    connection: psycopg.Connection[Any],
    library: Library,
    cards: Mapping[str, TaskCard],
    roots: AdapterRoots,
    advance: Callable[[int], None],
    *,
    move: bool = False,
) -> LoadReport:
    """Put a checked library in, in one transaction; what is there already stays as it is.

    Only affinities that were measured on fewer rows than the library's give way to those. With `move`, adapters that
    are registered at another place are looked for in this library from now on.

    Raises:
        ExampleConflictError: An example is there with another text.
        AdapterRefusedError: The library lies below none of the adapter roots.
    """
    manifest = library.manifest
    places = {
        task: roots.place(library.directory / manifest.adapters[task].directory) for task in library.adapters
    }
    examples, adapters, models = ExampleStore(connection), AdapterStore(connection), ModelStore(connection)
    with connection.transaction():
        examples.put_tasks(cards[task] for task in manifest.tasks)
        models.put_encoder(manifest.encoder.name, manifest.encoder.revision, manifest.encoder.dimensions)
        models.put_base_model(manifest.base_model)
        before = {task: adapters.place_of(facts, task) for task, facts in library.adapters.items()}
        after = {
            task: adapters.register(facts, Wanted(manifest.adapters[task].name, task, places[task])).uri
            if move or before[task] is None
            else before[task]
            for task, facts in library.adapters.items()
        }
        added = _add_examples(examples, library, advance)
        _add_affinities(adapters, library)
    new = sum(place is None for place in before.values())
    elsewhere = sum(after[task] != place.uri for task, place in places.items())
    return LoadReport(new, len(before) - new, added, len(library.examples) - added, elsewhere)


def _add_affinities(store: AdapterStore, library: Library) -> None:
    manifest = library.manifest
    known = store.affinities(manifest.base_model.name)
    shipped = {
        (task, manifest.adapters[trained_on].sha256): affinity
        for task, scores in library.affinities.items()
        for trained_on, affinity in scores.items()
    }
    new = {
        pair: affinity
        for pair, affinity in shipped.items()
        if pair not in known or known[pair].n < affinity.n
    }
    store.put_affinities(manifest.base_model.name, new)


def _add_examples(store: ExampleStore, library: Library, advance: Callable[[int], None]) -> int:
    rows, encoder = library.examples, library.manifest.encoder.name
    keys = list(zip(rows.tasks, rows.source_refs, strict=True))
    store.lock()
    stored = store.stored(keys, encoder)
    clash = conflict(dict(zip(keys, rows.sha256, strict=True)), stored)
    if clash is not None:
        raise ExampleConflictError(
            f"example {clash[1]!r} of task {clash[0]!r} is in the database with another text than in the "
            "library; remove the one of the two that is wrong"
        )
    new, lacking = [], {}
    for key, sha256, vector in zip(keys, rows.sha256, rows.vectors, strict=True):
        row = NewExample(*key, sha256, None, None, vector)
        if key not in stored:
            new.append(row)
        elif not stored[key].has_vector:
            lacking[stored[key].id] = row
    advance(len(rows) - len(new) - len(lacking))
    with store.indexed_after(encoder, len(new) + len(lacking)):
        store.add_vectors(lacking, encoder)
        advance(len(lacking))
        for start in range(0, len(new), CHUNK):
            store.add(new[start : start + CHUNK], encoder)
            advance(len(new[start : start + CHUNK]))
    return len(new)
