"""Which status an error has, and whether OpenAI's clients try it again by themselves."""

import pytest

from loradex import errors
from loradex.service.api.bodies import CompletionBody, shaped
from loradex.service.api.fields import CHAT, COMPLETION, DECISION, JOB, JOBS, Names
from loradex.service.api.problem import Problem, problem_of

RETRIED = {408, 409, 429}


@pytest.mark.parametrize(
    ("error", "status", "code", "tried_again"),
    [
        (errors.InvalidArgumentError("job 1: k must be a whole number"), 400, "invalid_value", False),
        (errors.UnknownNameError("method names no method 'x'"), 400, "invalid_value", False),
        (errors.KeyRefusedError("no such key"), 401, "invalid_api_key", False),
        (errors.PermissionRefusedError("no"), 403, "permission_refused", False),
        (errors.UnknownJobError("no"), 404, "unknown_job", False),
        (errors.JobCancelledError("job_cancelled", "bob did"), 409, "job_cancelled", False),
        (errors.JobFailedError("erased", "gone"), 410, "erased", False),
        (errors.IdempotencyConflictError("no"), 422, "idempotency_key_reused", False),
        (errors.ReplayRefusedError("erased"), 409, "replay_refused", False),
        (errors.QueueFullError("later"), 429, "queue_full", True),
        (errors.JobFailedError("prompt_too_long", "shorten"), 400, "context_length_exceeded", False),
        (errors.JobFailedError("adapter_changed", "no"), 500, "adapter_changed", False),
        (errors.JobFailedError("invalid_argument", "logit_bias names token 9"), 400, "invalid_value", False),
        (errors.JobFailedError("invalid_argument", "a file of ours"), 500, "invalid_argument", False),
        (errors.JobExpiredError("job_expired", "late"), 504, "job_expired", False),
        (errors.WaitTimeoutError("late"), 504, "wait_timeout", False),
        (errors.DatabaseUnavailableError("away"), 503, "database_unavailable", True),
        (errors.DatabaseRefusesError("read only"), 503, "database_refuses", True),
        (errors.SchemaOutdatedError("old"), 503, "schema_outdated", False),
        (errors.StackError("?"), 500, "stack", False),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_an_error_has_its_status(
    error: errors.LoradexError, status: int, code: str, tried_again: bool
) -> None:
    problem = problem_of(error)
    told = problem.document()["error"]
    assert (problem.status, told["code"]) == (status, code)
    retried = (status in RETRIED or status >= 500) and problem.headers.get("x-should-retry") != "false"
    assert retried == tried_again
    assert ("retry-after" in problem.headers) == tried_again


@pytest.mark.parametrize(
    ("message", "names", "param"),
    [
        ("job 1: k is 0; give a whole number from 1 to 1000", CHAT, "loradex.k"),
        ("sampling_top_p: must be a finite number", CHAT, "top_p"),
        ("choices.0: must be a text", CHAT, "loradex.choices"),
        ("method names no method 'x'; known are: base", CHAT, "loradex.method"),
        ("job 1: prompt is empty; give a text", CHAT, "messages"),
        ("job 1: prompt is empty; give a text", COMPLETION, "prompt"),
        ("max_new_tokens is 0; give a whole number", CHAT, "max_completion_tokens"),
        ("max_new_tokens is 0; give a whole number", COMPLETION, "max_tokens"),
        ("job 1: one of messages is empty; leave it out", DECISION, "input"),
        ("job 3: two texts of choices are the same; give each once", DECISION, "questions.2"),
        ("job 3: the last of messages must be the user's", JOBS, "jobs.2.messages"),
        ("job 1: a key of metadata must have 1 to 64 characters", JOB, "metadata"),
        ("idempotency_key is empty; give a text", CHAT, "Idempotency-Key"),
        ("a k of trouble", CHAT, None),
        ("the call is not valid JSON", CHAT, None),
    ],
)
def test_the_field_at_fault_is_named_as_its_endpoint_calls_it(
    message: str, names: Names, param: str | None
) -> None:
    assert problem_of(errors.InvalidArgumentError(message), names).param == param


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stop": [1]}, "stop.0"),
        ({"stop": 1}, "stop"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"n": "two"}, "n"),
        ({"prompt": 1}, "prompt"),
    ],
)
def test_a_field_of_several_kinds_is_named_without_the_kinds(more: dict[str, object], param: str) -> None:
    with pytest.raises(Problem) as refused:
        shaped(CompletionBody, {"model": "loradex", "prompt": "x", **more})
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")
