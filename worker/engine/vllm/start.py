"""Starts vLLM in this process for a base model, laid out for our mixtures."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from loradex.errors import InvalidArgumentError
from loradex.library.model_files import ModelFiles, read_whole
from loradex.worker.engine.architecture import Architecture
from loradex.worker.engine.asking import Asking
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.engine.ends import ends_of
from loradex.worker.engine.grammars import Grammars
from loradex.worker.engine.layout import Layout
from loradex.worker.engine.load import DTYPES
from loradex.worker.engine.memory import NOTHING_EXPECTED, USUAL_RANK, Budgets, Expected, budgets, free_bytes
from loradex.worker.engine.modules import linear_modules
from loradex.worker.engine.quantization import told_by
from loradex.worker.engine.text import Text
from loradex.worker.engine.vllm.arguments import CONTEXT, context_given, require_free
from loradex.worker.engine.vllm.engine import VllmEngine
from loradex.worker.engine.vllm.handover import hand_over, modules_of
from loradex.worker.engine.vllm.shelf import Shelf
from loradex.worker.engine.vllm.slots import require_rank, slots

MOST_LOGPROBS: Final = 20
"""As many likeliest tokens as a job may ask for."""


def start(
    model_path: Path,
    device: str,
    dtype: str,
    *,
    bank_bytes: int | None = None,
    expected: Expected = NOTHING_EXPECTED,
    threads: int = 0,
    room_bytes: int | None = None,
    max_loras: int | None = None,
    max_lora_rank: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    known: ModelFiles | None = None,
) -> VllmEngine:
    """An engine for the model at a path.

    Args:
        model_path: Its directory.
        device: `cpu`, `cuda` or `auto`; vLLM takes the one that its package was built for.
        dtype: Numbers it computes in.
        bank_bytes: Bytes of host memory for stacked adapters; None takes what suits the host.
        expected: The adapters there are.
        threads: Threads torch may use; 0 leaves it to torch.
        room_bytes: Bytes for keys and values; None takes what suits a host, and on a GPU leaves it to vLLM.
        max_loras: Distinct mixtures in one step, others wait; None takes what suits (`slots.slots`).
        max_lora_rank: The greatest rank of a mixture; None takes what suits the adapters that are expected.
        arguments: Further arguments of vLLM's `EngineArgs`, as they are.
        known: What the model's files were when this process hashed them before.

    Raises:
        InvalidArgumentError: vLLM is not installed, or an argument cannot be given to it, or it refuses to start.
        ModelRefusedError: The model's configuration does not say how many tokens it reads.
    """
    given = dict(arguments or {})
    require_rank(max_lora_rank)
    require_free(given)
    _require_device(device)
    shelf = Shelf() if given.get("tensor_parallel_size", 1) > 1 else None
    if threads:
        torch.set_num_threads(threads)
    model, tokenizer = _outline(model_path)
    reads = Architecture.of(model)
    architecture = replace(reads, context=context_given(given, reads.context))
    given[CONTEXT] = architecture.context
    weights = _weight_bytes(model_path, model, DTYPES[dtype])
    cuda = torch.cuda.is_available()
    here = torch.device("cuda" if cuda else "cpu")
    shapes = linear_modules(model)
    laid_out = slots(
        max_loras,
        max_lora_rank,
        expected,
        width=sum(shape.d_in + shape.d_out for name, shape in shapes.items() if name not in _heads(model)),
        itemsize=DTYPES[dtype].itemsize,
        free=max(0, free_bytes(here) - weights),
        shared=not cuda,
    )
    slot = Layout(expected.rank or USUAL_RANK, shapes).slot_bytes(DTYPES[dtype].itemsize)
    host = max(0, free_bytes(torch.device("cpu")) - (0 if cuda else weights))
    suits = budgets(host, slot, expected.adapters, shared=True)
    room = suits.rows if room_bytes is None and not cuda else room_bytes
    has = Budgets(suits.bank if bank_bytes is None else bank_bytes, room or 0)
    if room is not None:
        given.setdefault("kv_cache_memory_bytes", room)
    llm, files = read_whole(
        model_path,
        lambda directory: _llm(
            model=str(directory),
            dtype=dtype,
            max_loras=laid_out.loras,
            max_cpu_loras=2 * laid_out.loras,
            max_lora_rank=laid_out.rank,
            lora_target_modules=_targets(model),
            **given,
        ),
        known,
    )
    bank = AdapterBank(shapes, torch.device("cpu"), DTYPES[dtype], has.bank, 0)
    vocabulary = model.config.get_text_config().vocab_size
    # A tokenizer may name ends that the model has no logit for; vLLM refuses them.
    ends = frozenset(token for token in ends_of(model, tokenizer) if token < vocabulary)
    grammars = Grammars(tokenizer, vocabulary, ends)
    engine = VllmEngine(
        llm,
        Asking(Text(tokenizer), bank, architecture, vocabulary, dtype, grammars=grammars),
        ends=ends,
        context_length=reads.context,
        device=here,
        files=files,
        modules=frozenset(modules_of(llm)),
        slots=laid_out,
        budgets=has,
        # What the files say goes by the same name in both engines; vLLM calls it by its kernels.
        quantization=told_by(model.config) or llm.model_config.quantization,
        shelf=shelf,
    )
    if shelf is None:
        hand_over(llm, engine.mixtures.take)
    return engine


def _require_device(device: str) -> None:
    try:
        from vllm.platforms import current_platform  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidArgumentError(
            "LORADEX_ENGINE=vllm needs vLLM: pip install 'loradex[vllm]', in an environment of its own (docs/vllm.md)"
        ) from error
    if device not in {"auto", current_platform.device_type}:
        raise InvalidArgumentError(
            f"LORADEX_DEVICE is {device}, and the vLLM that is installed was built for {current_platform.device_type}"
        )


def _outline(model_path: Path) -> tuple[Any, Any]:
    """The model without its weights, for the names and sizes of its modules, and its tokenizer."""
    from transformers import (  # noqa: PLC0415 - seconds that other callers spare
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        GenerationConfig,
    )

    config = AutoConfig.from_pretrained(model_path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    if (model_path / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(model_path)
    return model.eval(), AutoTokenizer.from_pretrained(model_path)


def _targets(model: Any) -> list[str]:
    """What vLLM's LoRAs may change: every linear module but the head.

    With LoRAs on the head it cannot tell the likelihood of a prompt's tokens (0.32: its logits then belong to sampled
    rows only), and it would hold the vocabulary once for each slot and rank.
    """
    heads = _heads(model)
    return sorted({name.rpartition(".")[2] for name in linear_modules(model) if name not in heads})


def _heads(model: Any) -> frozenset[str]:
    head = model.get_output_embeddings()
    return frozenset(name for name in linear_modules(model) if model.get_submodule(name) is head)


def _weight_bytes(model_path: Path, model: Any, dtype: torch.dtype) -> int:
    """What the model will take: each weight in the numbers it computes in; of files that are quantised their size."""
    if told_by(model.config) is None:
        return int(sum(one.numel() for one in model.parameters())) * dtype.itemsize
    return sum(one.stat().st_size for one in model_path.glob("*.safetensors"))


def _llm(**arguments: Any) -> Any:
    # The scheduler in this process, and the model if it is one's; and nothing is told to anybody.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    # This process has threads, and torch, by now.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    # Other threads of the worker want the cores too.
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415 - an extra
    from vllm.v1.engine.llm_engine import LLMEngine  # noqa: PLC0415

    try:
        llm = LLMEngine.from_engine_args(_engine_args(EngineArgs, arguments))
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"vLLM does not start: {error}\nWhat it says of its arguments goes into LORADEX_VLLM_ARGUMENTS as JSON; "
            f'where memory does not suffice for a text as long as the model reads, {{"{CONTEXT}": 8192}} gives shorter '
            "ones room"
        ) from error
    # Each request says which tokens end it; to these vLLM adds what the model's files name, tokens that it does not
    # have included, with which a least length breaks its step.
    llm.input_processor.generation_config_fields = {}
    return llm


def _engine_args(kind: Any, arguments: Mapping[str, Any]) -> Any:
    return kind(
        **{
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "max_logprobs": MOST_LOGPROBS,
            "scheduling_policy": "priority",
            **arguments,
        },
        skip_tokenizer_init=True,
        enable_lora=True,
        generation_config="vllm",
        seed=0,
    )
