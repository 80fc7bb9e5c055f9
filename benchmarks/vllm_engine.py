"""Tokens a second: bare vLLM, vLLM with a mixture for each row, and our own engine, on random weights.

Run it in the environment of `make test-vllm`, or on a GPU in one with the extra `vllm`:

    PYTHONPATH=src python -m loradex.benchmarks.vllm_engine --shape 8b --device cuda --dtype bfloat16

Bars, on a GPU: at least 0.7 of bare vLLM with 16 distinct mixtures, and 2.5 times our own engine.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from loradex.benchmarks.frame import take_turns
from loradex.library.adapter_files import content_hash
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.load import DTYPES
from loradex.worker.engine.protocol import AnswerEngine, Failed, Finished
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.start import start

SHAPES = {  # hidden, inner, layers, heads, heads of keys and values, vocabulary
    "tiny": (256, 704, 4, 4, 2, 8_192),
    "135m": (576, 1_536, 30, 9, 3, 49_152),
    "1b": (2_048, 8_192, 16, 32, 8, 128_256),
    "8b": (4_096, 14_336, 32, 32, 8, 128_256),
}
ADAPTERS = 22
MIXED = 4
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="tiny", choices=SHAPES)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="loradex-vllm-"))
    path = _base(root / "base", chosen.shape, chosen.dtype)
    adapters = {content_hash(one): one for one in _adapters(root, chosen.shape, chosen.rank)}
    theirs = start(
        path,
        chosen.device,
        chosen.dtype,
        bank_bytes=8 << 30,
        threads=chosen.threads,
        room_bytes=1 << 30 if chosen.device == "cpu" else None,
        max_loras=chosen.rows + 1,
        max_lora_rank=MIXED * chosen.rank,
        arguments={"enforce_eager": chosen.device == "cpu", "enable_prefix_caching": False},
    )
    # Bare means bare: no batch here has rows with and without a mixture.
    theirs.mixtures.number_bare = False
    ours = Engine.load(path, chosen.device, chosen.dtype, 2 << 30, chosen.threads)
    for engine in (theirs, ours):
        engine.bank.ensure(adapters)
    batches = {merge: _rows(list(adapters), merge, chosen) for merge in ("bare", "linear", "cat")}
    turns = take_turns(
        {
            f"{name} {merge}": lambda engine=engine, rows=rows: _answer(engine, rows)  # type: ignore[misc]
            for (name, engine), (merge, rows) in itertools.product(
                (("vLLM", theirs), ("ours", ours)), batches.items()
            )
        },
        chosen.rounds,
    )
    print(f"{chosen.shape}, {chosen.device}, {chosen.dtype}, {chosen.rows} rows of {chosen.tokens} tokens")
    _print("by the clock", {name: statistics.median(one.wall) for name, one in turns.items()}, chosen)
    # On a machine that others use, the processor's time moves less; it says nothing of a GPU.
    _print(
        "by the processor's time", {name: statistics.median(one.cpu) for name, one in turns.items()}, chosen
    )


def _print(what: str, seconds: Mapping[str, float], chosen: argparse.Namespace) -> None:
    print(what)
    for name, one in seconds.items():
        of_bare, of_ours = seconds["vLLM bare"] / one, seconds[f"ours {name.split()[1]}"] / one
        speed = chosen.rows * chosen.tokens / one
        print(f"{name:<12} {speed:>9.1f} tokens/s   {of_bare:.2f} of bare vLLM   {of_ours:.2f} of ours")


def _rows(hashes: Sequence[str], merge: str, chosen: argparse.Namespace) -> list[Row]:
    """Each with a mixture of its own; all write as many tokens as they may."""
    mixtures = itertools.combinations(hashes, MIXED)
    return [
        Row(
            f"{place} questions about the tide and the lighthouse.\nAnswer:",
            Recipe(
                "cat" if merge == "bare" else merge,
                0.5,
                chosen.dtype,
                () if merge == "bare" else tuple(Component(one, 0.25) for one in next(mixtures)),
            ),
            max_new_tokens=chosen.tokens,
            min_tokens=chosen.tokens,
        )
        for place in range(chosen.rows)
    ]


def _answer(engine: AnswerEngine, rows: Sequence[Row]) -> None:
    for ticket, row in enumerate(rows):
        engine.add(ticket, row, {})
    left = len(rows)
    while left:
        for event in engine.step():
            if isinstance(event, Failed):
                raise SystemExit(f"{event.failure.code}: {event.failure.message}")
            left -= isinstance(event, Finished)


def _base(path: Path, shape: str, dtype: str) -> Path:
    hidden, inner, layers, heads, shared, vocabulary = SHAPES[shape]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: number for number, token in enumerate(["<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        max_position_embeddings=4_096,
        bos_token_id=None,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(DTYPES[dtype])
    LlamaForCausalLM(config).save_pretrained(path)
    torch.set_default_dtype(torch.float32)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(path)  # noqa: S106
    return path


def _adapters(root: Path, shape: str, rank: int) -> list[Path]:
    hidden, inner, layers, heads, shared, _ = SHAPES[shape]
    keys = hidden // heads * shared
    sizes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden, keys),
        "self_attn.v_proj": (hidden, keys),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (hidden, inner),
        "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }
    made = []
    for seed in range(ADAPTERS):
        numbers = torch.Generator().manual_seed(seed)
        tensors = {}
        for layer, (module, (wide, out)) in itertools.product(range(layers), sizes.items()):
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(rank, wide, generator=numbers) * 0.03
            tensors[f"{name}.lora_B.weight"] = torch.randn(out, rank, generator=numbers) * 0.01
        path = root / f"adapter{seed}"
        path.mkdir()
        save_file(tensors, path / "adapter_model.safetensors", metadata={"format": "pt"})
        targets = ", ".join(f'"{one}"' for one in TARGETS)
        (path / "adapter_config.json").write_text(
            f'{{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "random", "bias": "none", '
            f'"r": {rank}, "lora_alpha": {rank}, "target_modules": [{targets}]}}'
        )
        made.append(path)
    return made


if __name__ == "__main__":
    main()
