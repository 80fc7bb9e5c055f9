"""Tiny random language models of several families, a byte tokenizer and PEFT adapters; nothing is fetched."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from loradex.library.adapter_files import content_hash
from loradex.worker.engine.engine import Engine

CONTEXT = 256
WIDTHS = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.3,
}
FAMILIES: dict[str, Callable[..., Any]] = {
    "llama": lambda **common: LlamaConfig(**WIDTHS, **common, tie_word_embeddings=True),
    "qwen": lambda **common: Qwen2Config(**WIDTHS, **common),
    "mistral": lambda **common: MistralConfig(**WIDTHS, **common, sliding_window=CONTEXT),
    "phi": lambda **common: PhiConfig(**WIDTHS, **common, partial_rotary_factor=0.5),
    "gpt2": lambda **common: GPT2Config(
        n_embd=32, n_inner=48, n_layer=2, n_head=4, n_positions=CONTEXT, initializer_range=0.3, **common
    ),
}
ALL_LINEAR = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "qwen": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "mistral": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "phi": ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token; `<end>` ends a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")


def tiny_model(family: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """A random model of two layers that reads bytes."""
    torch.manual_seed(seed)
    tokenizer = byte_tokenizer()
    config = FAMILIES[family](
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval().requires_grad_(requires_grad=False)


@dataclass(frozen=True)
class TinyAdapter:
    """One saved PEFT adapter."""

    name: str
    directory: Path
    sha256: str


@dataclass(frozen=True)
class Zoo:
    """A tiny model and its adapters: any method merges the `even` ones, of one rank; `cat` merges all."""

    family: str
    model: Any
    even: tuple[TinyAdapter, ...]
    all: tuple[TinyAdapter, ...]

    def engine(
        self, bank_bytes: int = 64 << 20, dtype: torch.dtype = torch.float32, **options: Any
    ) -> Engine:
        """An engine over a copy of the model that knows all adapters."""
        engine = Engine(
            copy.deepcopy(self.model).to(dtype), byte_tokenizer(), bank_bytes=bank_bytes, **options
        )
        engine.bank.ensure({adapter.sha256: adapter.directory for adapter in self.all})
        return engine

    def peft(self) -> PeftModel:
        """A copy of the model with all adapters loaded under their names."""
        first, *others = self.all
        model = PeftModel.from_pretrained(copy.deepcopy(self.model), first.directory, adapter_name=first.name)
        for adapter in others:
            model.load_adapter(adapter.directory, adapter_name=adapter.name)
        return model.eval()


def save_adapter(
    model: Any, directory: Path, seed: int, dtype: torch.dtype = torch.float32, **config: Any
) -> TinyAdapter:
    """A LoRA with random, non-zero factors, saved by PEFT."""
    torch.manual_seed(seed)
    base = copy.deepcopy(model)
    fan = type(base).__name__.startswith("GPT2")
    lora = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, fan_in_fan_out=fan, **config)
    tuned = get_peft_model(base, lora)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data = (torch.randn_like(parameter) * 0.1).to(dtype)
    tuned.save_pretrained(directory, save_embedding_layers=False)
    return TinyAdapter(directory.name, directory, content_hash(directory))


def build_zoo(family: str, root: Path) -> Zoo:
    """A model and six adapters: four of rank 4, of unequal alphas and targets, two of other ranks."""
    model, targets = tiny_model(family), ALL_LINEAR[family]
    first, last = targets[0], targets[-1]
    even = (
        save_adapter(model, root / "even0", 1, r=4, lora_alpha=8, target_modules=targets),
        save_adapter(model, root / "even1", 2, r=4, lora_alpha=3, target_modules=targets),
        save_adapter(
            model, root / "even2", 3, r=4, lora_alpha=4, target_modules=[first], alpha_pattern={first: 9}
        ),
        save_adapter(
            model, root / "even3", 4, torch.bfloat16, r=4, lora_alpha=16, target_modules=[first, last]
        ),
    )
    odd = (
        save_adapter(model, root / "odd0", 5, r=2, lora_alpha=5, target_modules=targets),
        save_adapter(
            model, root / "odd1", 6, r=3, lora_alpha=3, target_modules=[first, last], rank_pattern={last: 7}
        ),
    )
    return Zoo(family, model, even, even + odd)


@pytest.fixture(scope="session")
def zoos(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Zoo]:
    """Zoos by family, each built once a session."""
    built: dict[str, Zoo] = {}

    def get(family: str) -> Zoo:
        if family not in built:
            built[family] = build_zoo(family, tmp_path_factory.mktemp(family))
        return built[family]

    return get


@pytest.fixture(scope="session")
def zoo(zoos: Callable[[str], Zoo]) -> Zoo:
    """The Llama one."""
    return zoos("llama")


@pytest.fixture(scope="session")
def engine(zoo: Zoo) -> Engine:
    """An engine over the Llama zoo; tests that change its bank make their own."""
    return zoo.engine()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny models are slower on several threads, and rounding must not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
