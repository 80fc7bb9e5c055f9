"""What a caller asks for. The shapes are checked here; the ranges are the database's to judge."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from loradex.errors import InvalidArgumentError

BIGGEST_BIGINT = (1 << 63) - 1
BIGGEST_INT = (1 << 31) - 1


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode; it holds half of a surrogate pair") from error
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


Text = Annotated[str, AfterValidator(_storable)]
Number = Annotated[float, AfterValidator(_finite)]
Integer = Annotated[int, Field(ge=-BIGGEST_INT, le=BIGGEST_INT)]


class Request(BaseModel):
    """One question with its settings; what is None is left to the database's defaults.

    Attributes:
        prompt: The question.
        choices: Answers to rank by log-likelihood; without them the model writes text.
        method: How adapters are chosen and mixed; affinity_calibrated_cat unless told otherwise, others are
            listed in `loradex.methods`.
        adapter: The adapter of method `own`.
        k: Neighbours that vote.
        top_p: Probability mass of the tasks that are mixed, in (0, 1].
        temperature: Softness of the neighbours' votes, above 0.
        density: Share of entries a trimming method keeps, in (0, 1].
        normalization: What a choice's log-likelihood is divided by.
        sampling_temperature: 0 writes the likeliest text; above 0 samples.
        expected_task: The true task where it is known, for the view `task_confusion`.
        idempotency_key: Enqueuing again with the same key gives the same job.
        priority: Higher goes first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    prompt: Text
    choices: tuple[Text, ...] | None = None
    method: Text | None = None
    adapter: Text | None = None
    base_model: Text | None = None
    encoder: Text | None = None
    k: Integer | None = None
    top_p: Number | None = None
    temperature: Number | None = None
    density: Number | None = None
    exclude_tasks: tuple[Text, ...] | None = None
    exclude_adapters: tuple[Text, ...] | None = None
    normalization: Literal["none", "tokens", "bytes"] | None = None
    max_new_tokens: Integer | None = None
    sampling_temperature: Number | None = None
    sampling_top_p: Number | None = None
    seed: Annotated[int, Field(ge=0, le=BIGGEST_BIGINT)] | None = None
    expected_task: Text | None = None
    idempotency_key: Text | None = None
    priority: Annotated[int, Field(ge=-32768, le=32767)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    @classmethod
    def of(cls, values: "Request | Mapping[str, Any]") -> "Request":
        """The request in `values`; `InvalidArgumentError` names every field that has the wrong shape."""
        if isinstance(values, Request):
            return values
        if not isinstance(values, Mapping):
            raise InvalidArgumentError(
                f"a job is a Request or a mapping of its settings, not {type(values).__name__}"
            )
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise InvalidArgumentError(_one_line(error)) from None

    def columns(self) -> dict[str, Any]:
        """The columns of `loradex.jobs` the caller has set."""
        kind = "generate" if self.choices is None else "choose"
        return {"kind": kind, **self.model_dump(mode="json", exclude_none=True)}


def _one_line(error: ValidationError) -> str:
    return "; ".join(
        f"{_place(one['loc'])}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_url=False, include_input=False)
    )


def _place(path: tuple[int | str, ...]) -> str:
    """Where in the request; a field nobody knows may have any name, so it is quoted."""
    names = [str(part) if str(part).isidentifier() or isinstance(part, int) else ascii(part) for part in path]
    return ".".join(names) or "job"
