"""Methods that take the fields of a `Request` as their own arguments, fully typed: `enqueue(prompt, k=3)`."""

import dataclasses
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import psycopg
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from loradex.errors import InvalidArgumentError
from loradex.service.client.request import FIELDS, Request

P = ParamSpec("P")
Owner = TypeVar("Owner")
Result = TypeVar("Result")

OPAQUE = ConfigDict(arbitrary_types_allowed=True)


@dataclass(frozen=True, kw_only=True, config=OPAQUE)
class Enqueue(Request):
    """A request and the caller's transaction that it becomes part of."""

    connection: psycopg.Connection[Any] | None = None


@dataclass(frozen=True, kw_only=True, config=OPAQUE)
class EnqueueSeveral(Enqueue):
    """The same, and how many answers are wanted."""

    n: int


@dataclass(frozen=True, kw_only=True, config=OPAQUE)
class AsyncEnqueue(Request):
    """A request and the caller's transaction that it becomes part of."""

    connection: psycopg.AsyncConnection[Any] | None = None


@dataclass(frozen=True, kw_only=True, config=OPAQUE)
class AsyncEnqueueSeveral(AsyncEnqueue):
    """The same, and how many answers are wanted."""

    n: int


@dataclass(frozen=True, kw_only=True)
class Ask(Request):
    """A request and the seconds to wait for its answer."""

    timeout: float | None = 60.0


@dataclass(frozen=True, kw_only=True)
class AskSeveral(Ask):
    """The same, and how many answers are wanted."""

    n: int


@dataclass(frozen=True, kw_only=True)
class Streamed(Request):
    """A request, the seconds to wait for its answer, and whether leaving before its end cancels it."""

    timeout: float | None = 60.0
    cancel: bool = False


@dataclass(frozen=True, kw_only=True)
class StreamedSeveral(Streamed):
    """The same, and how many answers are wanted."""

    n: int


def takes(
    arguments: Callable[P, Request],
) -> Callable[[Callable[..., Result]], Callable[Concatenate[Any, P], Result]]:
    """Give a method that is written for a `Request` the arguments of `arguments` instead.

    What `arguments` has beside the fields of a request reaches the method by name, and has the method's default.
    """
    own = sorted({field.name for field in dataclasses.fields(arguments)} - set(FIELDS))  # type: ignore[arg-type]

    def decorate(method: Callable[..., Result]) -> Callable[Concatenate[Any, P], Result]:
        @wraps(method)
        def call(self: Owner, *given: Any, **named: Any) -> Result:
            if len(given) > 1 or (given and "prompt" in named):
                raise InvalidArgumentError(
                    "only the prompt stands without a name, as in enqueue(prompt, k=3)"
                )
            fields = dict(zip(FIELDS[:1], given, strict=False)) | named
            rest = {name: fields.pop(name) for name in own if name in fields}
            return method(self, Request.of(fields, own), **rest)

        taken = signature(method).parameters
        shown = signature(arguments)
        call.__signature__ = shown.replace(  # type: ignore[attr-defined]
            parameters=[taken.get(name, one) for name, one in shown.parameters.items()]
        )
        return cast("Callable[Concatenate[Any, P], Result]", call)

    return decorate


def implements(
    arguments: Callable[..., Request],
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """`takes`, for what follows overloads: they say its types."""
    return takes(arguments)
