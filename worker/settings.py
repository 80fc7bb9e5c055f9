"""What a worker process is told at its start; read once, by the program that starts it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from loradex.library.settings import LibrarySettings

MIB = 1 << 20


class WorkerSettings(LibrarySettings):
    """Settings of one worker, which answers the jobs of its base model and encoder only.

    Attributes:
        frame: Template around every prompt, used when the base model is not in the database yet.
        engine: `torch` is our own; `vllm` is vLLM, with our mixtures as its LoRAs (docs/vllm.md).
        device: Where the model lives.
        dtype: Numbers the model computes in.
        threads: Threads torch may use; 0 leaves it to torch.
        bank_bytes: Bytes of device memory for stacked adapters.
        batch_rows: Jobs in hand at most.
        batch_bytes: Bytes for keys, values, factors and logits of all jobs in hand; None takes what suits the device.
        vllm_max_loras: Distinct mixtures vLLM computes at once; rows of others wait.
        vllm_max_lora_rank: The greatest rank of a mixture vLLM is laid out for.
        vllm_arguments: Further arguments of vLLM's `EngineArgs`, as JSON.
        linger_ms: How long jobs wait for company after the bell, in milliseconds.
        lease_seconds: How long a claimed job is this worker's without a sign of life.
        max_attempts: Attempts after which a job ends as failed.
        sweep_seconds: How often the worker looks for jobs whose bell was lost.
        metrics_port: Port that Prometheus reads this worker at; None: it is not read.
        metrics_host: The address of that port; by itself only this machine reaches it.
        ready_file: File that says this worker is ready; None means `worker.ready` in `home`.
        log_level: Least level that is logged.
    """

    model_config = SettingsConfigDict(env_prefix="LORADEX_", frozen=True, extra="ignore")

    frame: str = "{prompt}\nAnswer:"
    engine: Literal["torch", "vllm"] = "torch"
    device: Literal["cpu", "cuda", "auto"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: Annotated[int, Field(ge=0)] = 0
    bank_bytes: Annotated[int, Field(gt=0)] = 256 * MIB
    batch_rows: Annotated[int, Field(ge=1)] = 64
    batch_bytes: Annotated[int, Field(gt=0)] | None = None
    vllm_max_loras: Annotated[int, Field(ge=1)] = 16
    vllm_max_lora_rank: Annotated[int, Field(ge=1)] = 64
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
