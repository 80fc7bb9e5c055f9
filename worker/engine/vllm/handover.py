"""Hands LoRAs to vLLM as tensors in memory, where its own way is a directory.

A model in several processes takes that way (`shelf.py`).
"""

from collections.abc import Set as AbstractSet
from typing import Any

from loradex.worker.engine.vllm.joint import Take
from loradex.worker.engine.vllm.shelf import tensors_of


def hand_over(llm: Any, take: Take) -> None:
    """Lets the engine's LoRA manager ask `take` for each LoRA it needs, by name."""
    llm.collective_rpc(_ask_in_memory, args=(take,))


def modules_of(llm: Any) -> AbstractSet[str]:
    """The modules it adds LoRAs to, by the names that checkpoints give them: a fused one by its parts."""
    return frozenset(module for found in llm.collective_rpc(_modules) for module in found)


def _ask_in_memory(worker: Any, take: Take) -> None:
    from vllm.lora.peft_helper import PEFTHelper  # noqa: PLC0415 - an extra

    manager = worker.model_runner.lora_manager
    model = worker.model_runner.get_model()
    mapper = getattr(model, "hf_to_vllm_mapper", None)

    def load(request: Any) -> Any:
        factors = take(request.lora_name)
        tensors, rank = tensors_of(factors)
        return manager._lora_model_cls.from_lora_tensors(  # noqa: SLF001 - what its own loader calls
            request.lora_int_id,
            tensors,
            PEFTHelper(r=rank, lora_alpha=rank, target_modules=list(factors)),
            device="cpu",
            dtype=manager.lora_config.lora_dtype,
            model_vocab_size=manager.vocab_size,
            weights_mapper=None if mapper is None else mapper.get_rename_mapper(),
        )

    manager._load_adapter = load  # noqa: SLF001 - it has no door for tensors yet


def _modules(worker: Any) -> list[str]:
    manager = worker.model_runner.lora_manager._adapter_manager  # noqa: SLF001 - nor one to ask
    return [part for module in manager.modules for part in manager.packed_modules.get(module, [module])]
