"""What a worker process is told at its start; read once, by the program that starts it."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from loradex.library.settings import LibrarySettings
from loradex.worker.engine.form import DeviceMap, Form, Quantization
from loradex.worker.engine.recipe import Dtype

RESERVED_SHARE: Final = 8
"""One place in so many is for urgent jobs alone; with fewer places none is."""


class WorkerSettings(LibrarySettings):
    """Settings of one worker, which answers the jobs of its base model and encoder only.

    Attributes:
        frame: Template around every prompt, used when the base model is not in the database yet.
        engine: `torch` is our own; `vllm` is vLLM, with our mixtures as its LoRAs (docs/vllm.md).
        device: Where the model lives: `cpu`, `cuda`, or one of several GPUs, such as `cuda:1`.
        dtype: Numbers the model computes in.
        attn_implementation: Attention of transformers, such as `eager` or `sdpa`; None takes transformers' choice.
        quantization: Weights in few bits; None leaves them as their files have them.
        device_map: What transformers spreads layers by: `auto`, or an object of module and device; None: all of them
            lie on one device.
        threads: Threads torch may use; 0 leaves it to torch.
        bank_bytes: Bytes of device memory for stacked adapters; None takes what suits the device and the library.
        batch_rows: Jobs in hand at most.
        reserved_rows: How many of these places are for jobs above the default priority alone; None is an eighth.
        batch_bytes: Bytes for keys, values, factors and logits of all jobs in hand; None takes what suits the device.
        vllm_max_loras: Distinct mixtures vLLM computes at once, rows of others wait; None takes what suits.
        vllm_max_lora_rank: The greatest rank of a mixture vLLM is laid out for; None takes what suits the adapters.
        vllm_arguments: Further arguments of vLLM's `EngineArgs`, as JSON.
        linger_ms: How long jobs wait for company after the bell, in milliseconds.
        lease_seconds: How long a claimed job is this worker's without a sign of life.
        max_attempts: Attempts after which a job ends as failed.
        sweep_seconds: How often the worker looks for jobs whose bell was lost.
        metrics_port: Port that Prometheus reads this worker at; None: it is not read.
        metrics_host: The address of that port; by itself only this machine reaches it.
        ready_file: File that says this worker is ready; None means `worker.ready` in `home`.
        log_level: Least level that is logged of what Loradex says; of libraries it is a warning, or more.
    """

    # A variable that Compose hands on from nowhere is empty, and means what none does.
    model_config = SettingsConfigDict(
        env_prefix="LORADEX_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    frame: str = "{prompt}\nAnswer:"
    engine: Literal["torch", "vllm"] = "torch"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    dtype: Dtype = "float32"
    attn_implementation: Annotated[str, Field(min_length=1)] | None = None
    quantization: Quantization | None = None
    device_map: DeviceMap | None = None
    threads: Annotated[int, Field(ge=0)] = 0
    bank_bytes: Annotated[int, Field(gt=0)] | None = None
    batch_rows: Annotated[int, Field(ge=1)] = 64
    reserved_rows: Annotated[int, Field(ge=0)] | None = None
    batch_bytes: Annotated[int, Field(gt=0)] | None = None
    vllm_max_loras: Annotated[int, Field(ge=1)] | None = None
    vllm_max_lora_rank: Annotated[int, Field(ge=1)] | None = None
    vllm_arguments: dict[str, Any] = Field(default_factory=dict)
    linger_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    lease_seconds: Annotated[float, Field(ge=0.5)] = 60.0
    max_attempts: Annotated[int, Field(ge=1)] = 5
    sweep_seconds: Annotated[float, Field(gt=0)] = 5.0
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    metrics_host: str = "127.0.0.1"
    ready_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def ready_path(self) -> Path:
        return self.ready_file or self.home / "worker.ready"

    @model_validator(mode="after")
    def _some_place_is_for_all(self) -> Self:
        if self.reserved >= self.batch_rows:
            raise ValueError(
                "LORADEX_RESERVED_ROWS is less than LORADEX_BATCH_ROWS, so that other jobs have a place"
            )
        return self

    @property
    def reserved(self) -> int:
        """Places that only urgent jobs take."""
        return self.batch_rows // RESERVED_SHARE if self.reserved_rows is None else self.reserved_rows

    @property
    def form(self) -> Form:
        """How the base model is to lie in memory."""
        return Form(self.dtype, self.attn_implementation, self.quantization, self.device_map)
