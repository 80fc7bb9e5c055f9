"""Which engine a worker answers with."""

from pathlib import Path

from loradex.worker.engine.engine import Engine
from loradex.worker.engine.serving import ServingEngine
from loradex.worker.settings import WorkerSettings


def load_engine(settings: WorkerSettings, model: Path) -> ServingEngine:
    """The engine of the settings, with the base model at a path.

    Raises:
        InvalidArgumentError: It is not installed, or cannot be set so.
        ModelRefusedError: It cannot answer with this model.
    """
    if settings.engine == "vllm":
        from loradex.worker.engine.vllm.start import start  # noqa: PLC0415 - only where it is wanted

        return start(
            model,
            settings.device,
            settings.dtype,
            bank_bytes=settings.bank_bytes,
            threads=settings.threads,
            room_bytes=settings.batch_bytes,
            max_loras=settings.vllm_max_loras,
            max_lora_rank=settings.vllm_max_lora_rank,
            arguments=settings.vllm_arguments,
        )
    return Engine.load(
        model,
        settings.device,
        settings.dtype,
        settings.bank_bytes,
        settings.threads,
        room_bytes=settings.batch_bytes,
    )
