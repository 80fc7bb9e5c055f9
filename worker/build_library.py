"""The `build-library` program: vectors and manifest for adapters that are trained."""

import json
import sys
from pathlib import Path

from db.errors import LoradexError
from library.build import Ingredients, choose_examples
from library.build import build_library as build
from library.cards import load_cards
from library.hydrate import example_files
from library.ingest import check_files
from library.manifest import BaseModelEntry, EncoderEntry, Manifest
from library.vectors import VectorCache, embed
from worker.encoders import encoder_at, encoder_facts
from worker.engine.load import model_revision, shipped_model
from worker.ingest import progress
from worker.settings import WorkerSettings

MIB = 1 << 20


def build_library(
    settings: WorkerSettings, directory: Path, data: Path, cards: Path, *, per_task: int, seed: int
) -> int:
    """Build and say what was made; the exit code."""
    try:
        manifest = _build(settings, directory, data, cards, per_task=per_task, seed=seed)
    except LoradexError as error:
        sys.stderr.write(f"loradex: {error}\n")
        return error.exit_code
    sys.stdout.write(
        f"{directory}: {len(manifest.adapters)} adapters, {sum(manifest.examples.values())} example vectors, "
        f"{manifest.total_bytes / MIB:.1f} MiB\n"
    )
    return 0


def _build(
    settings: WorkerSettings, directory: Path, data: Path, cards: Path, *, per_task: int, seed: int
) -> Manifest:
    known = load_cards(cards)
    rows = [row for rows in check_files(example_files(data), known, None).values() for row in rows]
    chosen = choose_examples(rows, per_task, seed)
    place, facts = encoder_facts(settings)
    encoder = encoder_at(place)
    with (
        VectorCache.of(settings.home, facts.name, facts.revision) as vectors,
        progress(len(chosen)) as advance,
    ):
        embedded = embed([row.prompt for row in chosen], encoder, vectors, advance)
    ingredients = Ingredients(
        base_model_entry(settings),
        EncoderEntry(name=facts.name, revision=facts.revision, dimensions=facts.dimensions),
        known,
    )
    return build(directory, ingredients, chosen, embedded)


def base_model_entry(settings: WorkerSettings) -> BaseModelEntry:
    """The base model the settings name, described from its files."""
    if settings.base_model_path is None:
        place = shipped_model(settings.home / "cache" / "models")
    else:
        place = Path(settings.base_model_path)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    return BaseModelEntry(
        name=settings.base_model,
        revision=model_revision(place),
        # As the engine counts it, which announces the same model when a worker starts.
        context_length=min(config["max_position_embeddings"], config.get("sliding_window") or 1 << 62),
        frame=settings.frame,
    )
