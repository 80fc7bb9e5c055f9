"""Directories that a worker process can load: a tiny base model, a tiny encoder, and adapters for them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tests.fix_models import CONTEXT, TinyAdapter, byte_tokenizer, save_adapter, tiny_model
from transformers import BertConfig, BertModel

DIMENSIONS = 32


@dataclass(frozen=True)
class TinyLibrary:
    """Where everything lies; one adapter for each task."""

    base: Path
    encoder: Path
    adapters: dict[str, TinyAdapter]

    @property
    def root(self) -> Path:
        return self.base.parent


def build_tiny_library(root: Path, tasks: tuple[str, ...]) -> TinyLibrary:
    """A Llama of two layers, a BERT of one layer, and an adapter of rank 4 for each task, all random."""
    model = tiny_model("llama")
    base, encoder = root / "base", root / "encoder"
    model.save_pretrained(base)
    byte_tokenizer().save_pretrained(base)
    torch.manual_seed(7)
    tokenizer = byte_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=DIMENSIONS,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config).save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
    adapters = {
        task: save_adapter(
            model, root / "adapters" / task, seed, r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]
        )
        for seed, task in enumerate(tasks, start=1)
    }
    return TinyLibrary(base, encoder, adapters)
