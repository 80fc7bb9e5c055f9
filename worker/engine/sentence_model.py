"""The models behind an encoder: a transformer whose tokens are pooled, or a table with a vector for each token."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from loradex.errors import ModelRefusedError
from loradex.library.encoder_files import EncoderFiles
from loradex.library.encoder_layers import Pooling
from loradex.worker.engine.encoder_steps import made_of, static_table
from loradex.worker.engine.pooling import pooled
from loradex.worker.engine.token_reader import Cut, TokenReader, Tokens

LONGEST: Final = 8192
"""Tokens of a text that are read where neither model nor tokenizer sets a limit."""
HALVES: Final = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
"""Models that write texts of which the half that reads is an encoder: their classes in transformers."""


class SentenceModel(Protocol):
    """Texts to tokens, tokens to vectors."""

    shortening: Cut
    """What the model itself keeps of a text that is too long."""

    def read(self, texts: Sequence[str], prompt: str, cut: Cut) -> list[Tokens]:
        """Each text behind the prompt."""
        ...

    def vectors(self, ids: Sequence[tuple[int, ...]], prompt: str) -> Tensor:
        """Of length one, float32 `[texts, dimensions]`; no text is without tokens."""
        ...


class PooledTransformer:
    """A transformer, the pooling of its last hidden states, and the steps behind it."""

    def __init__(self, files: EncoderFiles, device: str) -> None:
        loaded, tokenizer = _loaded(files.start)
        self._model = loaded.to(device).eval().requires_grad_(requires_grad=False)
        reading = files.reading
        limit = min(reading.max_seq_length or _usual(tokenizer.model_max_length), _positions(loaded))
        self._reader = TokenReader(tokenizer, limit, lower_case=reading.do_lower_case)
        self.shortening: Cut = self._reader.shortening
        self.read = self._reader.read
        first, *others = files.steps
        assert isinstance(first.layer, Pooling)  # noqa: S101 - read_encoder saw to it
        self._pooling = first.layer
        self._steps = _in_order([made_of(step) for step in others], device)

    def vectors(self, ids: Sequence[tuple[int, ...]], prompt: str) -> Tensor:
        longest, device = max(map(len, ids)), self._model.device
        padded = torch.tensor([row + (0,) * (longest - len(row)) for row in ids], device=device)
        lengths = torch.tensor([len(row) for row in ids], device=device)
        mask = torch.arange(longest, device=device) < lengths.unsqueeze(1)
        hidden = self._model(input_ids=padded, attention_mask=mask.long()).last_hidden_state
        skipped = 0 if self._pooling.include_prompt else self._reader.skipped(prompt)
        return _unit(self._steps(pooled(hidden, lengths, skipped, self._pooling.modes)))


class StaticModel:
    """The mean of a text's tokens, each with a vector of its own."""

    shortening: Cut = "head"

    def __init__(self, files: EncoderFiles, device: str) -> None:
        from tokenizers import Tokenizer  # noqa: PLC0415 - comes with transformers

        path = files.start / "tokenizer.json"
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:
            raise ModelRefusedError(f"{path}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._table = static_table(files.start).to(device)
        self._steps = _in_order([made_of(step) for step in files.steps], device)

    def read(self, texts: Sequence[str], prompt: str, cut: Cut) -> list[Tokens]:
        """Nothing is cut: a token costs no more than its row."""
        del cut
        read = self._tokenizer.encode_batch([prompt + text for text in texts], add_special_tokens=False)
        return [Tokens(tuple(one.ids), len(one.ids), len(one.ids)) for one in read]

    def vectors(self, ids: Sequence[tuple[int, ...]], prompt: str) -> Tensor:
        del prompt
        device = self._table.device
        means = [self._table[torch.tensor(row, device=device)].mean(0) for row in ids]
        return _unit(self._steps(torch.stack(means)))


def sentence_model(files: EncoderFiles, device: str) -> SentenceModel:
    """The model of that directory; `ModelRefusedError` if it cannot be loaded."""
    return PooledTransformer(files, device) if files.kind == "transformer" else StaticModel(files, device)


def _loaded(directory: Path) -> tuple[Any, Any]:
    """The transformer in float32, and its tokenizer; no code of the model's own is run."""
    import transformers  # noqa: PLC0415 - seconds that other callers spare

    try:
        config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=False)
        kind = getattr(transformers, _class_for(config))
        model = kind.from_pretrained(directory, dtype=torch.float32, trust_remote_code=False)
        return model, transformers.AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:
        raise ModelRefusedError(f"{directory}: {(str(error).splitlines() or [repr(error)])[0]}") from error


def _class_for(config: Any) -> str:
    if config.is_encoder_decoder and config.model_type not in HALVES:
        raise ModelRefusedError(f"a {config.model_type} writes texts; of such, {', '.join(HALVES)} are read")
    return HALVES.get(config.model_type, "AutoModel")


def _unit(vectors: Tensor) -> Tensor:
    return nn.functional.normalize(vectors, dim=1)


def _in_order(steps: list[nn.Module], device: str) -> nn.Module:
    return nn.Sequential(*steps).to(device).eval().requires_grad_(requires_grad=False)


def _usual(stated: int) -> int:
    """A tokenizer that knows no limit states an absurd one."""
    return min(stated, LONGEST)


def _positions(model: Any) -> int:
    """Tokens the model has places for: less than it states where the first places are kept for padding."""
    for name, part in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    stated = getattr(model.config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else LONGEST
