"""The encoder the settings name: what it is, without loading it, and itself, loaded when it is needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from loradex.library.encoder_files import read_encoder
from loradex.library.ingest import EncoderFacts
from loradex.library.model_files import files_of
from loradex.library.vectors import TextEncoder, VectorCache, Vectors
from loradex.worker.engine.embed import Encoder, shipped_encoder
from loradex.worker.settings import WorkerSettings


def encoder_facts(settings: WorkerSettings) -> tuple[Path, EncoderFacts]:
    """The encoder's directory and identity, without loading it."""
    directory = Path(settings.encoder_path) if settings.encoder_path is not None else shipped_encoder()
    dimensions = read_encoder(directory).dimensions
    return directory, EncoderFacts(settings.encoder, files_of(directory).revision, dimensions)


def encoder_at(directory: Path) -> Callable[[], Encoder]:
    """Gives the encoder; the first call loads it."""

    @cache
    def encoder() -> Encoder:
        return Encoder.load(directory)

    return encoder


@dataclass(frozen=True)
class QuestionEncoder:
    """An encoder that reads texts as the worker reads questions."""

    encoder: Encoder

    def embed(self, texts: Sequence[str], /) -> Vectors:
        return np.stack([one.vector for one in self.encoder.embed_questions(texts)])


def question_encoder_at(directory: Path) -> Callable[[], TextEncoder]:
    """Gives the encoder for questions; the first call loads it."""
    load = encoder_at(directory)
    return lambda: QuestionEncoder(load())


def question_cache(home: Path, facts: EncoderFacts) -> VectorCache:
    """The vectors of questions, which are made by another rule than those of examples."""
    return VectorCache.of(home, f"{facts.name}-questions", facts.revision)
