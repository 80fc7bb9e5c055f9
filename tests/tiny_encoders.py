"""Tiny encoders of every kind that is followed, written by sentence-transformers itself."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling, StaticEmbedding
from tests.fix_models import byte_tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    RobertaConfig,
    T5Config,
)

WIDTH = 32
PLACES = 64
FAMILIES: Mapping[str, Callable[..., Any]] = {
    "bert": lambda hidden_size=WIDTH, **common: BertConfig(
        hidden_size=hidden_size,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=PLACES,
        **common,
    ),
    "distilbert": lambda **common: DistilBertConfig(
        dim=WIDTH, hidden_dim=48, n_layers=1, n_heads=2, max_position_embeddings=PLACES, **common
    ),
    "roberta": lambda **common: RobertaConfig(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=PLACES + 1,
        **common,
    ),
    "qwen": lambda **common: Qwen2Config(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=PLACES,
        **common,
    ),
    "t5": lambda **common: T5Config(
        d_model=WIDTH, d_kv=16, d_ff=48, num_layers=1, num_heads=2, decoder_start_token_id=0, **common
    ),
}


def framing_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token; every text begins with `<pad>` and ends with `<end>`, as those of BERT do."""
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<pad> $A <end>", special_tokens=[("<pad>", 0), ("<end>", 1)]
    )
    tokenizer.model_max_length = PLACES
    return tokenizer


def transformer(directory: Path, family: str = "bert", width: int = WIDTH, **reading: Any) -> Transformer:
    """A random transformer in a directory, as the first module of an encoder."""
    torch.manual_seed(3)
    tokenizer = framing_tokenizer()
    shape = {} if width == WIDTH else {"hidden_size": width}
    config = FAMILIES[family](vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape)
    AutoModel.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return Transformer(str(directory), **reading)


def save_encoder(
    root: Path,
    name: str,
    *,
    family: str = "bert",
    width: int = WIDTH,
    pooling: str | Sequence[str] = "mean",
    include_prompt: bool = True,
    behind: Sequence[Any] = (),
    reading: Mapping[str, Any] | None = None,
    **use: Any,
) -> SentenceTransformer:
    """An encoder below `root`, and itself as sentence-transformers has it in memory."""
    first = transformer(root / f"{name}-transformer", family, width, **(reading or {}))
    torch.manual_seed(5)
    pool = Pooling(width, pooling_mode=pooling, include_prompt=include_prompt)
    made = SentenceTransformer(modules=[first, pool, *behind], device="cpu", **use)
    made.save_pretrained(str(root / name))
    return made


def save_static(root: Path, name: str, *, dimensions: int = WIDTH) -> SentenceTransformer:
    """A static encoder below `root`: a vector for each byte."""
    torch.manual_seed(9)
    tokenizer = byte_tokenizer()
    table = torch.randn(len(tokenizer), dimensions)
    made = SentenceTransformer(modules=[StaticEmbedding(tokenizer, table)], device="cpu")
    made.save_pretrained(str(root / name))
    return made


def dense(into: int, **options: Any) -> Dense:
    torch.manual_seed(11)
    return Dense(WIDTH, into, **options)


def layer_norm(width: int = WIDTH) -> LayerNorm:
    torch.manual_seed(13)
    made = LayerNorm(width)
    torch.nn.init.normal_(made.norm.weight)
    return made


def unit() -> Normalize:
    return Normalize()
