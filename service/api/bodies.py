"""The bodies of requests: shapes and sizes, which are checked before anything is done."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, from_json

from loradex.service.api.formats import ResponseFormat, StructuredOutputs
from loradex.service.api.json_values import require_few_values
from loradex.service.api.problem import Problem, refused
from loradex.service.client.request import BIGGEST_BIGINT, OPENAI_NAMES
from loradex.service.client.samples import MOST_SAMPLES

MOST_MESSAGES = 1_000
MOST_PROMPTS = 128
MOST_QUESTIONS = 400
MOST_CHOICES = 255
MOST_JOBS = 10_000
LONGEST_WAIT = 600.0

OPTIONS = (
    *("base_model", "choices", "deadline", "density", "encoder", "exclude_adapters", "exclude_tasks"),
    *(
        "embedded_messages",
        "expected_task",
        "k",
        "method",
        "normalization",
        "priority",
        "temperature",
        "top_p",
    ),
)
"""Fields of a job that the object `loradex` may hold; `timeout` is the other one."""

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "suffix": ("",),
    "echo": (False,),
    "best_of": (1,),
    "guided_choice": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_grammar": (),
    "ignore_eos": (False,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "include_stop_str_in_output": (False,),
    "continue_final_message": (False,),
    "add_generation_prompt": (True,),
    "chat_template": (),
    "use_beam_search": (False,),
    "length_penalty": (1, 1.0),
    "truncate_prompt_tokens": (),
}
"""What would change the answer and cannot be done, with the values that ask for nothing. Null asks for nothing too."""

KINDS = {"str", "bool", "int", "float"}
"""What pydantic calls the kinds of a field that may be of several."""

Body = TypeVar("Body", bound="Tolerant")
Exact = TypeVar("Exact", bound=BaseModel)


class Tolerant(BaseModel):
    """Fields that nobody here knows are kept apart: clients send new ones every month."""

    model_config = ConfigDict(extra="allow", strict=True, hide_input_in_errors=True)

    def ignored(self) -> list[str]:
        """The names that were sent and mean nothing here."""
        return [name for name in self.model_extra or {} if name not in NEUTRAL]


class Message(Tolerant):
    """A turn. `content` may also be a list of parts; what is no text is refused later, by name."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(Tolerant):
    include_usage: bool | None = None


class Asking(Tolerant):
    """What chat, completions and decisions have in common.

    Attributes:
        model: `loradex`, a base model or an adapter.
        loradex: Settings of Loradex' own.
        metadata: Texts noted on the job.
    """

    model: str
    loradex: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None


class Writing(Asking):
    """What chat and completions have in common: OpenAI's fields, and four more of vLLM's."""

    max_tokens: int | None = None
    min_tokens: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] | None = None
    seed: Annotated[int, Field(ge=0, le=BIGGEST_BIGINT)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    @property
    @abstractmethod
    def likeliest(self) -> int | None:
        """How many of the likeliest tokens are told at each place; None: not even the one written.

        Raises:
            Problem: `top_logprobs` without `logprobs`.
        """


class ChatBody(Writing):
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    @property
    def likeliest(self) -> int | None:
        if self.logprobs:
            return self.top_logprobs or 0
        if self.top_logprobs:
            raise refused("top_logprobs needs logprobs: true", "top_logprobs")
        return None


class CompletionBody(Writing):
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]
    logprobs: int | None = None

    @property
    def likeliest(self) -> int | None:
        return self.logprobs


class Choice(Tolerant):
    value: str | bool
    description: str | None = None


class Level(Tolerant):
    label: str
    description: str | None = None


class Question(Tolerant):
    """Instructions may be a list of parts, of which texts are taken."""

    type: Literal["predicate", "choice", "score"]
    instructions: str | list[dict[str, Any]]
    name: str | None = None
    choices: Annotated[list[Choice], Field(min_length=2, max_length=MOST_CHOICES)] | None = None
    levels: Annotated[list[Level], Field(min_length=2, max_length=MOST_CHOICES)] | None = None


class DecisionBody(Asking):
    input: str | Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    questions: Annotated[list[Question], Field(min_length=1, max_length=MOST_QUESTIONS)]


class JobsBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    jobs: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_JOBS)]


def parsed(raw: bytes) -> Any:
    """The JSON in a body.

    Raises:
        Problem: It is none, or holds too many values.
    """
    require_few_values(raw)
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise refused(f"the body is not JSON: {error}", code="invalid_json") from None


def shaped(kind: type[Body], document: object) -> Body:
    """The body as `kind` has it; what asks for the impossible is refused, not left out.

    Raises:
        Problem: The first field that is wrong is named.
    """
    try:
        body = kind.model_validate(document)
    except ValidationError as error:
        raise _first(error) from None
    for name, neutral in NEUTRAL.items():
        value = (body.model_extra or {}).get(name)
        # To Python 1 and True are equal, to JSON they are not.
        alike = [one for one in neutral if isinstance(one, bool) is isinstance(value, bool)]
        # The best of as many as are told are these.
        if value is None or value in alike or (name == "best_of" and value == getattr(body, "n", None)):
            continue
        cure = "say it in structured_outputs" if name.startswith("guided_") else "leave it out"
        raise refused(f"{name} is not supported; {cure}", name, "unsupported_parameter")
    return body


def jobs_in(document: object) -> list[dict[str, Any]]:
    """The jobs of a body: `{"jobs": [...]}`, or one job by itself. Raises as `shaped` does."""
    if isinstance(document, dict) and "jobs" not in document:
        document = {"jobs": [document]}
    return exact(JobsBody, document).jobs


def exact(kind: type[Exact], document: object) -> Exact:
    """The body as `kind` has it, which says whether it may have other fields. Raises as `shaped` does."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise _first(error) from None


def options_of(body: Asking) -> tuple[dict[str, Any], float | None]:
    """The fields of a job in the object `loradex`, and the seconds to wait, if it says them.

    Raises:
        Problem: There is something else in it.
    """
    said = {name: value for name, value in (body.loradex or {}).items() if value is not None}
    seconds = said.pop("timeout", None)
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_WAIT
    ):
        raise refused(f"timeout must be above 0 and at most {LONGEST_WAIT:g} seconds", "loradex.timeout")
    for name in said:
        if name not in OPTIONS:
            raise refused(
                f"{ascii(name)[:100]} is not a setting of loradex; there are {', '.join(OPTIONS)}, timeout",
                "loradex",
                "unknown_parameter",
            )
    return said, seconds


def sampling_of(body: Writing) -> dict[str, Any]:
    """The fields of a job that OpenAI's and vLLM's clients have too, and what they say in another way."""
    said = {name: getattr(body, theirs) for name, theirs in OPENAI_NAMES.items()}
    # An empty text stops nothing, and vLLM's clients say -1 for all tokens.
    stop = [body.stop] if isinstance(body.stop, str) else body.stop
    said["stop"] = None if stop is None else [one for one in stop if one]
    said["sampling_top_k"] = 0 if body.top_k == -1 else body.top_k
    return said


def text_of(content: str | list[dict[str, Any]] | None, place: str) -> str:
    """The text of a turn.

    Raises:
        Problem: A part of it is no text.
    """
    if content is None or isinstance(content, str):
        return content or ""
    for number, part in enumerate(content):
        if not str(part.get("type")).endswith("text") or not isinstance(part.get("text"), str):
            raise refused(
                "only text is read here, no images, sounds or files",
                f"{place}.{number}",
                "unsupported_content",
            )
    return "\n".join(str(part["text"]) for part in content)


def _first(error: ValidationError) -> Problem:
    first = _nearest(error.errors(include_url=False, include_input=False, include_context=False))
    # Which kind of a union was tried, is said in parts that are no names of ours.
    parts = [
        str(part)
        for part in first["loc"]
        if isinstance(part, int) or (part.isidentifier() and part not in KINDS)
    ]
    place = ".".join(parts)[:200]
    return refused(f"{place or 'the body'}: {first['msg']}", place or None)


def _nearest(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """The first error; of a field that may be of several kinds, that of the kind which comes nearest."""
    first = errors[0]
    union, kind = first["loc"][:-1], str(first["loc"][-1] if first["loc"] else "")
    if kind.isidentifier() and kind not in KINDS:
        return first
    tried = [one for one in errors if one["loc"][: len(union)] == union]
    return max(tried, key=lambda one: (len(one["loc"]), not one["type"].endswith("_type")))
