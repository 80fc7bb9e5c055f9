"""What a caller asks for. The shapes are checked here; the ranges are the database's to judge."""

import dataclasses
import difflib
import json
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, field
from typing import Annotated, Any, Literal, SupportsIndex

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from loradex.constraint import Constraint
from loradex.errors import InvalidArgumentError

OPENAI = "openai"
"""Metadata of a field that OpenAI's or vLLM's clients have too: their name for it."""
LONGEST_READ = 100_000
"""Characters of a constraint up to which it is read here; Postgres refuses longer ones."""
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


def _whole(number: object) -> object:
    """5.0 of a data frame and numpy's integers are whole numbers too."""
    if isinstance(number, bool):
        return number
    if isinstance(number, float):
        return int(number) if number.is_integer() else number
    return operator.index(number) if isinstance(number, SupportsIndex) else number


def _in_order(texts: object) -> object:
    """Lists and other sequences keep their order; a set has none, so it is sorted."""
    if isinstance(texts, set | frozenset):
        return tuple(sorted(texts, key=str))
    if isinstance(texts, Iterable) and not isinstance(texts, str | bytes | Mapping):
        return tuple(texts)
    return texts


def _by_token(numbers: object) -> object:
    """JSON and OpenAI's clients write the ids of tokens as texts."""
    if not isinstance(numbers, Mapping):
        return numbers
    return {
        int(token)
        if isinstance(token, str) and token.isascii() and token.isdigit()
        else _whole(token): number
        for token, number in numbers.items()
    }


def _as_pairs(pairs: object) -> object:
    return dict(pairs) if isinstance(pairs, Mapping) else pairs


def _as_json(schema: object) -> object:
    """A schema given as an object becomes its text, in which properties keep their order."""
    if not isinstance(schema, Mapping):
        return schema
    try:
        return json.dumps(dict(schema), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from error


Text = Annotated[str, AfterValidator(_storable)]
Schema = Annotated[str | Mapping[str, Any], BeforeValidator(_as_json)]
Texts = Annotated[Sequence[str] | set[str] | frozenset[str], BeforeValidator(_in_order)]
Pairs = Annotated[Mapping[str, str], BeforeValidator(_as_pairs)]
Number = Annotated[float, AfterValidator(_finite)]
Biases = Annotated[Mapping[int, Number], BeforeValidator(_by_token)]
Integer = Annotated[int, BeforeValidator(_whole), Field(ge=-BIGGEST_INT, le=BIGGEST_INT)]
Seed = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=BIGGEST_BIGINT)]
Priority = Annotated[int, BeforeValidator(_whole), Field(ge=-32768, le=32767)]
Normalization = Literal["none", "tokens", "bytes"]
ChoicePrior = Literal["none", "history"]
Messages = Annotated[Sequence[Mapping[str, str]], BeforeValidator(_in_order)]
Embedded = Literal["last", "all"]


@dataclass(frozen=True, config=ConfigDict(strict=True, hide_input_in_errors=True))
class Request:
    """One question with its settings: the job fields of `loradex.settings`, whose defaults None stands for.

    How a text is sampled, and its `repetition_penalty`, may have other defaults, of the base model's own.

    Attributes:
        prompt: The question.
        messages: A conversation instead of a prompt: `role` (system, user or assistant) and `content` of each message,
            the last of which is the user's.
        embedded_messages: Which messages neighbours are searched for: the last, or all.
        choices: Answers to rank by log-likelihood; without them the model writes text.
        method: How adapters are chosen and mixed; they are listed in `loradex.methods`.
        adapter: The adapter of method `own`.
        base_model: Model that answers.
        encoder: Encoder for retrieval.
        k: Neighbours that vote.
        top_p: Probability mass of the tasks that are mixed, in (0, 1].
        temperature: Softness of the neighbours' votes, above 0.
        exclude_tasks: Tasks left out, with their examples and the adapters trained on them.
        exclude_adapters: Adapters that may not take part.
        density: Share of entries a trimming merge keeps, in (0, 1].
        normalization: What a choice's log-likelihood is divided by: none, tokens or bytes.
        choice_prior: `history` takes off each choice what the asker's latest answers with the same choices gave it.
        max_new_tokens: Tokens to write at most.
        min_tokens: Tokens to write before one that ends the text; a stop string ends it all the same.
        stop: Up to 4 texts that end the answer, which is what stands before the first of them.
        sampling_temperature: 0 writes the likeliest text; above 0 samples.
        sampling_top_k: How many of the likeliest tokens are sampled from; 0: all.
        sampling_top_p: Mass of the tokens sampled from, in (0, 1].
        sampling_min_p: Least probability of a token that is sampled, as a share of the likeliest one's, in [0, 1].
        repetition_penalty: Above 1 tokens of prompt and text come less likely again.
        presence_penalty: Taken off the logit of a token that was written, in [-2, 2].
        frequency_penalty: Taken off the logit of a token for each time it was written, in [-2, 2].
        logit_bias: Ids of tokens, and what is added to the logit of each, in [-100, 100].
        logprobs: How many of the likeliest tokens the answer tells at each place, up to 20.
        json_schema: A JSON schema, as an object or its text; a written answer is JSON that is valid by it.
        regex: A regular expression that matches the whole of a written answer.
        seed: Seed of the sampling.
        stream: Whether its text is told to listeners while it is written.
        traceparent: The W3C trace context its spans belong to; None: that of whoever hands it in, if there is one.
        expected_task: The true task where it is known, for the view `task_confusion`.
        idempotency_key: Enqueuing again with it gives the same job.
        metadata: Texts noted on the job, to find it by: 16 pairs at most.
        priority: Higher goes first.
        deadline: Seconds after which it ends as expired instead of being answered, above 0.
    """

    prompt: Text | None = None
    _: KW_ONLY
    messages: Messages | None = None
    embedded_messages: Embedded | None = None
    choices: Texts | None = None
    method: Text | None = None
    adapter: Text | None = None
    base_model: Text | None = None
    encoder: Text | None = None
    k: Integer | None = None
    top_p: Number | None = None
    temperature: Number | None = None
    exclude_tasks: Texts | None = None
    exclude_adapters: Texts | None = None
    density: Number | None = None
    normalization: Normalization | None = None
    choice_prior: ChoicePrior | None = None
    max_new_tokens: Integer | None = None
    min_tokens: Integer | None = field(default=None, metadata={OPENAI: "min_tokens"})
    stop: Texts | None = field(default=None, metadata={OPENAI: "stop"})
    sampling_temperature: Number | None = field(default=None, metadata={OPENAI: "temperature"})
    sampling_top_k: Integer | None = field(default=None, metadata={OPENAI: "top_k"})
    sampling_top_p: Number | None = field(default=None, metadata={OPENAI: "top_p"})
    sampling_min_p: Number | None = field(default=None, metadata={OPENAI: "min_p"})
    repetition_penalty: Number | None = field(default=None, metadata={OPENAI: "repetition_penalty"})
    presence_penalty: Number | None = field(default=None, metadata={OPENAI: "presence_penalty"})
    frequency_penalty: Number | None = field(default=None, metadata={OPENAI: "frequency_penalty"})
    logit_bias: Biases | None = field(default=None, metadata={OPENAI: "logit_bias"})
    logprobs: Integer | None = None
    json_schema: Schema | None = None
    regex: Text | None = None
    seed: Seed | None = None
    stream: bool | None = None
    traceparent: Text | None = None
    expected_task: Text | None = None
    idempotency_key: Text | None = None
    metadata: Pairs | None = None
    priority: Priority | None = None
    deadline: Number | None = None

    def __post_init__(self) -> None:
        for name in TEXTS:
            for text in getattr(self, name) or ():
                _storable(text)
        for pair in (
            *(self.metadata or {}).items(),
            *(pair for one in self.messages or () for pair in one.items()),
        ):
            for text in pair:
                _storable(text)
        for name in CONSTRAINTS:
            if (held := getattr(self, name)) is not None:
                _storable(held)
                if len(held) <= LONGEST_READ:
                    Constraint(**{name: held}).require_readable()

    @classmethod
    def of(cls, values: "Request | Mapping[str, Any]", also: Iterable[str] = ()) -> "Request":
        """The request in a mapping of its fields. A name that is unknown may have been meant as one of `also`.

        Raises:
            InvalidArgumentError: Every field that has the wrong shape is named; an unknown one with the likeliest
                name that was meant.
        """
        if isinstance(values, Request):
            return values
        if not isinstance(values, Mapping):
            raise InvalidArgumentError(
                f"a job is a Request or a mapping of its settings, not {type(values).__name__}"
            )
        unknown = [name for name in values if name not in FIELDS]
        if unknown:
            raise InvalidArgumentError("; ".join(_unknown(name, (*FIELDS, *also)) for name in unknown))
        if values.get("prompt") is None and values.get("messages") is None:
            raise InvalidArgumentError("prompt: a job needs one, or messages")
        try:
            return cls(**values)
        except ValidationError as error:
            raise InvalidArgumentError(_one_line(error)) from None

    def document(self) -> dict[str, Any]:
        """What `loradex.enqueue_jobs` takes: the fields that were set."""
        told = {name: getattr(self, name) for name in FIELDS}
        return {
            name: list(value) if name in (*TEXTS, "messages") else value
            for name, value in told.items()
            if value is not None
        }


FIELDS = tuple(one.name for one in dataclasses.fields(Request))
OPENAI_NAMES: Mapping[str, str] = {
    one.name: one.metadata[OPENAI] for one in dataclasses.fields(Request) if OPENAI in one.metadata
}
"""What OpenAI's and vLLM's clients call the fields that they have too."""
NOTHING_OF_THE_MODEL: Mapping[str, float] = {
    "sampling_temperature": 0.0,
    "sampling_top_k": 0,
    "sampling_top_p": 1.0,
    "sampling_min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""What a base model may have defaults of, at the values that change nothing: said in a request, none is the model's."""
CONSTRAINTS = ("json_schema", "regex")
TEXTS = ("choices", "stop", "exclude_tasks", "exclude_adapters")


def _unknown(name: object, known: Sequence[str]) -> str:
    """A field nobody knows may have any name, so it is quoted."""
    close = difflib.get_close_matches(str(name), known, n=1)
    meant = f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"
    return f"{ascii(name)[:100]}: no such setting; {meant}"


def _one_line(error: ValidationError) -> str:
    return "; ".join(
        f"{_place(one['loc'])}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_url=False, include_input=False)
    )


def _place(path: tuple[int | str, ...]) -> str:
    """Where in the request."""
    return ".".join(str(part) for part in path if isinstance(part, int) or part in FIELDS) or "job"
