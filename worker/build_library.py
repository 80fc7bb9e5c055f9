"""A library's vectors and manifest, from training examples and adapters that are trained."""

from pathlib import Path

from loradex.library.base_model_files import read_base_model
from loradex.library.build import LibrarySpec, choose_examples
from loradex.library.build import build_library as build
from loradex.library.cards import load_cards
from loradex.library.hydrate import example_files
from loradex.library.ingest import check_files
from loradex.library.manifest import BaseModelEntry, EncoderEntry, Manifest
from loradex.library.vectors import VectorCache, embed
from loradex.terminal import counting
from loradex.worker.encoders import encoder_at, encoder_facts
from loradex.worker.engine.load import shipped_model
from loradex.worker.settings import WorkerSettings


def build_library(
    settings: WorkerSettings, directory: Path, data: Path, cards: Path, *, per_task: int, seed: int
) -> Manifest:
    """Draw the examples, embed them and write vectors and manifest into `directory`."""
    known = load_cards(cards)
    rows = [row for rows in check_files(example_files(data), known, None).values() for row in rows]
    chosen = choose_examples(rows, per_task, seed)
    place, facts = encoder_facts(settings)
    encoder = encoder_at(place)
    with (
        VectorCache.of(settings.home, facts.name, facts.revision) as vectors,
        counting("examples", len(chosen)) as advance,
    ):
        embedded = embed([row.prompt for row in chosen], encoder, vectors, advance)
    spec = LibrarySpec(
        base_model_entry(settings),
        EncoderEntry(name=facts.name, revision=facts.revision, dimensions=facts.dimensions),
        known,
    )
    return build(directory, spec, chosen, embedded)


def base_model_entry(settings: WorkerSettings) -> BaseModelEntry:
    """The base model the settings name, described from its files."""
    if settings.base_model_path is None:
        place = shipped_model(settings.home / "cache" / "models")
    else:
        place = Path(settings.base_model_path)
    return read_base_model(place, settings.base_model, settings.frame)
