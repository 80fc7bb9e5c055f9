"""Which engine a worker answers with."""

from pathlib import Path

import structlog

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.float32 import Float32
from loradex.worker.engine.form import Form
from loradex.worker.engine.memory import Expected
from loradex.worker.engine.serving import ServingEngine
from loradex.worker.settings import WorkerSettings


def load_engine(
    settings: WorkerSettings, model: Path, expected: Expected, float32: Float32 | None = None
) -> ServingEngine:
    """The engine of the settings, with the base model at a path, laid out for the adapters that are expected.

    `float32` is shared with all that multiply float32 in other threads.

    Raises:
        InvalidArgumentError: It is not installed, or cannot be set so.
        ModelRefusedError: It cannot answer with this model.
    """
    if settings.engine == "vllm":
        if settings.form != Form(settings.dtype):
            raise InvalidArgumentError(
                f"vLLM is asked for a model in {settings.form}; name what it has of that in LORADEX_VLLM_ARGUMENTS and "
                "unset LORADEX_ATTN_IMPLEMENTATION, LORADEX_QUANTIZATION and LORADEX_DEVICE_MAP"
            )
        from loradex.worker.engine.vllm.start import start  # noqa: PLC0415 - only where it is wanted

        engine = start(
            model,
            settings.device,
            settings.dtype,
            bank_bytes=settings.bank_bytes,
            expected=expected,
            threads=settings.threads,
            room_bytes=settings.batch_bytes,
            max_loras=settings.vllm_max_loras,
            max_lora_rank=settings.vllm_max_lora_rank,
            arguments=settings.vllm_arguments,
        )
        structlog.get_logger("worker").info(
            "worker.laid_out", max_loras=engine.slots.loras, max_lora_rank=engine.slots.rank
        )
        return engine
    return Engine.load(
        model,
        settings.device,
        settings.form,
        settings.bank_bytes,
        settings.threads,
        room_bytes=settings.batch_bytes,
        expected=expected,
        float32=float32,
    )
