"""Every error a user of Loradex can meet, with one root; SQL functions raise those that have a SQLSTATE."""

from pathlib import Path
from typing import ClassVar


class LoradexError(Exception):
    """Root of all errors Loradex raises on purpose; its text says what to do.

    Attributes:
        code: The error's name for programs, in any language; it never changes.
        sqlstate: Its SQLSTATE where SQL functions raise it.
        exit_code: What a command ends with.
    """

    code: ClassVar[str] = "loradex"
    sqlstate: ClassVar[str | None] = None
    exit_code: ClassVar[int] = 1


class InvalidArgumentError(LoradexError):
    """A value outside its range, an empty prompt, choices that repeat."""

    code = "invalid_argument"
    sqlstate = "LX001"
    exit_code = 2


class UnknownNameError(LoradexError):
    """No task, adapter, encoder, base model or method of that name."""

    code = "unknown_name"
    sqlstate = "LX002"
    exit_code = 2


class UnknownJobError(LoradexError):
    """No job of that id, or not one of this user's."""

    code = "unknown_job"
    sqlstate = "LX003"


class UnknownAnswerError(LoradexError):
    """No answer of that id, or not one of this user's."""

    code = "unknown_answer"
    sqlstate = "LX004"


class DimensionError(LoradexError):
    """A vector whose length is not its encoder's, or that holds NaN or infinity."""

    code = "dimension"
    sqlstate = "LX005"
    exit_code = 2


class LeaseLostError(LoradexError):
    """A worker wrote for a job whose lease and attempt are no longer its own."""

    code = "lease_lost"
    sqlstate = "LX006"


class IdempotencyConflictError(LoradexError):
    """The idempotency key was used before for a different job."""

    code = "idempotency_conflict"
    sqlstate = "LX007"


class QueueFullError(LoradexError):
    """The queue holds as many waiting jobs as it may."""

    code = "queue_full"
    sqlstate = "LX008"


class AppendOnlyError(LoradexError):
    """An UPDATE or DELETE on a table of evidence."""

    code = "append_only"
    sqlstate = "LX009"


class RoutingLostError(LoradexError):
    """Postgres no longer knows how a running job was routed, since it crashed; the job is routed again."""

    code = "routing_lost"
    sqlstate = "LX010"


class KeyRefusedError(LoradexError):
    """There is no such API key, or it was revoked or has expired."""

    code = "key_refused"
    sqlstate = "LX011"


class ReplayRefusedError(LoradexError):
    """An answer that cannot be computed once more: it was erased, or its model is not at hand."""

    code = "replay_refused"
    sqlstate = "LX012"


class DatabaseUnavailableError(LoradexError):
    """Postgres does not answer at the configured address."""

    code = "database_unavailable"


class DatabaseRefusesError(DatabaseUnavailableError):
    """Postgres answers and refuses everybody: it is a replica, its disk is full, or somebody holds a lock."""

    code = "database_refuses"


class RedisUnavailableError(LoradexError):
    """Redis does not answer at the configured address, or refuses what it is asked."""

    code = "redis_unavailable"


class ClientClosedError(LoradexError):
    """The client was closed; make a new one."""

    code = "client_closed"


class StackError(LoradexError):
    """A part of the embedded stack did not start, stop or become healthy."""

    code = "stack"


class SchemaOutdatedError(LoradexError):
    """The database is not at the newest migration."""

    code = "schema_outdated"


class PermissionRefusedError(LoradexError):
    """The database user lacks the role that this needs."""

    code = "permission_refused"


class AdapterRefusedError(LoradexError):
    """The directory is not a PEFT LoRA that Loradex can compose exactly; the text says why."""

    code = "adapter_refused"


class AdapterChangedError(LoradexError):
    """A registered adapter's files no longer have the content hash that was registered."""

    code = "adapter_changed"


class AdapterUnavailableError(LoradexError):
    """The place where a registered adapter lies does not give its files now, or there is no room for them."""

    code = "adapter_unavailable"


class ModelRefusedError(LoradexError):
    """The directory is not a base model or an encoder that Loradex can follow exactly; the text says why."""

    code = "model_refused"


class DeviceBrokenError(LoradexError):
    """The device that a worker computes on does nothing more for this process, which ends; the text says since when."""

    code = "device_broken"


class ConversationRefusedError(LoradexError):
    """A model's chat template cannot lay out these messages; the text says why."""

    code = "conversation_refused"


class ConstraintRefusedError(InvalidArgumentError):
    """A JSON schema or a regular expression that no text can be held to; the text says why."""

    code = "constraint_refused"
    sqlstate = None  # type: ignore[assignment]  # no SQL function raises it


class ConfinedError(LoradexError):
    """Work in a process of its own took more time or memory than it may, or broke."""

    code = "confined"


class ExampleFileError(LoradexError):
    """A line of an examples file was refused; nothing of that file was kept."""

    code = "example_file"

    def __init__(self, file: Path, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


class ExampleConflictError(LoradexError):
    """An example of that source reference is there already, with another text."""

    code = "example_conflict"


class TaskCardError(LoradexError):
    """A task card is missing, malformed or does not fit an example."""

    code = "task_card"


class PromptTooLongError(LoradexError):
    """The prompt and its answer do not fit into the base model's context."""

    code = "prompt_too_long"


class JobFailedError(LoradexError):
    """The job ended as failed; `code` and the text say why."""

    code: str = "job_failed"  # type: ignore[misc]  # an instance has the code of its job

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class JobCancelledError(JobFailedError):
    """The job was cancelled; the text says by whom."""

    code: str = "job_cancelled"  # type: ignore[misc]


class JobExpiredError(JobFailedError):
    """The job had no answer at its deadline."""

    code: str = "job_expired"  # type: ignore[misc]


class WaitTimeoutError(LoradexError):
    """No answer within the time the caller was willing to wait; the job goes on."""

    code = "wait_timeout"


class StreamDiffersError(LoradexError):
    """What was told of a text while it was written is not the text that was recorded, which alone is true."""

    code = "stream_differs"


class HubUnavailableError(LoradexError):
    """The Hugging Face hub, or the package that reads it, does not give a data set."""

    code = "hub_unavailable"


class LibraryMissingError(LoradexError):
    """No library of that name is installed."""

    code = "library_missing"


class LibraryCorruptError(LoradexError):
    """A file of a library is missing, truncated or not what its manifest says."""

    code = "library_corrupt"


class EvaluationFailedError(LoradexError):
    """A process of an evaluation died, or could not measure; what is on record stays."""

    code = "evaluation_failed"


class TrainingDataError(LoradexError):
    """The training data is missing, too small, or a test file."""

    code = "training_data"


class AnchorError(LoradexError):
    """A place where heads of the chain are kept cannot be reached, or holds what nobody kept there."""

    code = "anchor"


class ArchiveError(LoradexError):
    """An archive could not be written or verified, so that nothing was taken out of the database."""

    code = "archive"


def _with_sqlstate(root: type[LoradexError]) -> dict[str, type[LoradexError]]:
    table: dict[str, type[LoradexError]] = {}
    for kind in root.__subclasses__():
        if kind.sqlstate is not None:
            table[kind.sqlstate] = kind
        table |= _with_sqlstate(kind)
    return table


BY_SQLSTATE: dict[str, type[LoradexError]] = _with_sqlstate(LoradexError)
