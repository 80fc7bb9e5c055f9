"""The encoder the settings name: what it is, without loading it, and itself, loaded when it is needed."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from loradex.library.ingest import EncoderFacts
from loradex.library.model_files import files_of
from loradex.worker.engine.embed import Encoder, shipped_encoder
from loradex.worker.settings import WorkerSettings


def encoder_facts(settings: WorkerSettings) -> tuple[Path, EncoderFacts]:
    """The encoder's directory and identity, without loading it."""
    directory = Path(settings.encoder_path) if settings.encoder_path is not None else shipped_encoder()
    dimensions = json.loads((directory / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    return directory, EncoderFacts(settings.encoder, files_of(directory).revision, dimensions)


def encoder_at(directory: Path) -> Callable[[], Encoder]:
    """Gives the encoder; the first call loads it."""

    @cache
    def encoder() -> Encoder:
        return Encoder.load(directory)

    return encoder
