"""What is the same for every answer of one worker: its model, its numbers, its programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from db.errors import UnknownNameError
from worker.jobs import Job

RECORDED_VERSIONS = ("loradex", "torch", "transformers", "numpy", "celery")


@dataclass(frozen=True)
class Station:
    """One worker's fixed facts, as they stand in its answers."""

    worker: str
    base_model: str
    base_model_revision: str
    encoder: str
    encoder_revision: str
    dimensions: int
    context_length: int
    frame: str
    device: str
    dtype: str
    versions: Mapping[str, str]

    def framed(self, prompt: str) -> str:
        """The text the base model reads."""
        return self.frame.replace("{prompt}", prompt)

    def require(self, job: Job) -> None:
        """Refuse a job that asks for another base model or encoder than this worker's."""
        if (job.base_model, job.encoder) != (self.base_model, self.encoder):
            raise UnknownNameError(
                f"the job asks for {job.base_model} with {job.encoder}, but the running worker has "
                f"{self.base_model} with {self.encoder}; start a worker with LORADEX_BASE_MODEL={job.base_model} "
                f"and LORADEX_ENCODER={job.encoder}"
            )


def library_versions() -> dict[str, str]:
    """Versions of what takes part in an answer; a package that is not installed is left out."""
    found = {"python": python_version()}
    for name in RECORDED_VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
