"""The encoder gives the vectors sentence-transformers gives, whatever shares a batch."""

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from loradex.worker.engine.embed import Encoder, shipped_encoder

TEXTS = [
    "Which of these weighs more, a tonne of bricks or a tonne of feathers?",
    "drum",
    "",
    "A letter came for the miller. " * 90,
    "Премьер не пришёл, ünd das war gut so.",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


def test_vectors_are_those_of_sentence_transformers(encoder: Encoder) -> None:
    theirs = SentenceTransformer(str(shipped_encoder()), device="cpu")
    expected = theirs.encode(TEXTS, normalize_embeddings=True, convert_to_numpy=True)
    assert np.abs(encoder.embed(TEXTS) - expected).max() < 1e-5


def test_vectors_do_not_depend_on_the_batch(encoder: Encoder) -> None:
    together = encoder.embed(TEXTS)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5


def test_vectors_are_of_length_one_and_of_the_stated_size(encoder: Encoder) -> None:
    vectors = encoder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.embed([]).shape == (0, encoder.dimensions)


def test_the_revision_names_the_weights(encoder: Encoder) -> None:
    assert len(encoder.revision) == 64
    assert encoder.revision == Encoder.load(shipped_encoder()).revision
