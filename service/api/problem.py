"""What a client is told when it gets no answer: OpenAI's envelope, with a status its retries understand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loradex import errors
from loradex.errors import LoradexError
from loradex.service.api.fields import CHAT, Names

NO_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients repeat 408, 409, 429 and 5xx by themselves, unless they are told this."""

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
REFUSED, SERVER = 400, 500
ERASED = "erased"
"""The code of a job whose texts were erased."""


@dataclass
class Problem(Exception):  # noqa: N818 - it is what the client is told, not what went wrong here
    """An answer of the API that is an error.

    Attributes:
        status: The HTTP status.
        code: Its name for programs.
        message: What is wrong and what to do.
        param: The field of the request that is wrong, where one is.
        headers: Headers beside.
        also: More that the error object says.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The body, as OpenAI's clients read it."""
        kind = TYPES.get(self.status, "server_error" if self.status >= SERVER else "invalid_request_error")
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
                **self.also,
            }
        }


def refused(message: str, param: str | None = None, code: str = "invalid_value") -> Problem:
    """The request cannot be; nothing was handed in."""
    return Problem(400, code, message, param)


NO_KEY = Problem(
    401,
    "invalid_api_key",
    "no such key, or it was revoked or has expired; ask your administrator for one, and send it as "
    "`Authorization: Bearer lx_...`",
    headers={"www-authenticate": "Bearer"},
)
"""For a key that is missing, wrong, revoked or over: nobody learns which."""

SHUTTING_DOWN = Problem(
    503,
    "shutting_down",
    "this server ends before the answer was there; ask again",
    headers={"retry-after": "2"},
)

INTERNAL = Problem(
    500,
    "internal_error",
    "something went wrong here that is not your fault; the log says what",
    headers=NO_RETRY,
)


BY_ERROR: Sequence[tuple[type[LoradexError], int, str | None, Mapping[str, str]]] = (
    (errors.InvalidArgumentError, 400, "invalid_value", {}),
    (errors.DimensionError, 400, "invalid_value", {}),
    (errors.UnknownNameError, 400, "invalid_value", {}),
    (errors.PermissionRefusedError, 403, None, {}),
    (errors.UnknownJobError, 404, None, {}),
    (errors.UnknownAnswerError, 404, None, {}),
    # 409 would be tried again.
    (errors.IdempotencyConflictError, 422, "idempotency_key_reused", {}),
    (errors.ReplayRefusedError, 409, None, NO_RETRY),
    (errors.QueueFullError, 429, None, {"retry-after": "5"}),
    (errors.JobCancelledError, 409, None, NO_RETRY),
    (errors.JobExpiredError, 504, None, NO_RETRY),
    (errors.WaitTimeoutError, 504, None, NO_RETRY),
    (errors.DatabaseUnavailableError, 503, None, {"retry-after": "2"}),
    (errors.ClientClosedError, 503, "shutting_down", {"retry-after": "2"}),
    (errors.SchemaOutdatedError, 503, None, NO_RETRY),
)
"""The status and the code of an error, its own where none is said, and headers; another error is a fault of ours."""


OF_WORKERS = {
    errors.ConversationRefusedError.code: "messages",
    errors.ConstraintRefusedError.code: "json_schema",
}
"""What the asker has to change though a worker says so, and the field where the text names none."""


def problem_of(error: LoradexError, names: Names = CHAT) -> Problem:
    """What the client is told of an error; `names` are what its endpoint calls the fields of a job."""
    text = str(error)
    if isinstance(error, errors.KeyRefusedError):
        return NO_KEY
    of_worker = _of_worker(error, text, names)
    if of_worker is not None:
        return of_worker
    if error.code == ERASED:
        return Problem(410, ERASED, text)
    for kind, status, code, headers in BY_ERROR:
        if isinstance(error, kind):
            param = names.param_of(text) if status == REFUSED else None
            return Problem(status, code or error.code, text, param, headers)
    # A job that ended without an answer would end so again.
    return Problem(500, error.code, text, headers=NO_RETRY)


def _of_worker(error: LoradexError, text: str, names: Names) -> Problem | None:
    """What the asker has to change though only a worker could see it; None where it is something else."""
    told = names.param_of(text)
    if error.code == errors.PromptTooLongError.code:
        return Problem(REFUSED, "context_length_exceeded", text, names.called("prompt"))
    if error.code in OF_WORKERS:
        return Problem(REFUSED, error.code, text, told or names.called(OF_WORKERS[error.code]))
    if isinstance(error, errors.JobFailedError) and error.code == errors.InvalidArgumentError.code and told:
        # Of a field, such as a token that the model has not. Without one it is an operator's to mend.
        return Problem(REFUSED, "invalid_value", text, told)
    return None
