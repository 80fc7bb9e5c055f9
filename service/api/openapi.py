"""The OpenAPI document of the API, from the very models that read its bodies."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from loradex.service.api.bodies import ChatBody, CompletionBody, DecisionBody, JobsBody
from loradex.service.api.embeddings import EmbeddingBody
from loradex.service.api.what_if import WhatIfBody

Document = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"
BODIES: tuple[type[BaseModel], ...] = (
    ChatBody,
    CompletionBody,
    DecisionBody,
    EmbeddingBody,
    JobsBody,
    WhatIfBody,
)


class Operation(NamedTuple):
    """What a path does with a method.

    Attributes:
        body: What it reads; None reads nothing.
        status: Of a good answer.
        query: Parameters behind the path, with their types.
        keyed: Whether a key must be shown.
    """

    summary: str
    body: type[BaseModel] | None = None
    status: int = 200
    query: tuple[tuple[str, str], ...] = ()
    keyed: bool = True


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/livez"): Operation("Whether the process lives", keyed=False),
    ("GET", "/readyz"): Operation("Whether requests can be answered, and why not", keyed=False),
    ("GET", "/v1/openapi.json"): Operation("This document", keyed=False),
    ("GET", "/v1/models"): Operation("What can answer: routing, base models, adapters"),
    ("GET", "/v1/models/{id}"): Operation("One of them"),
    ("POST", "/v1/chat/completions"): Operation("Answer a conversation", ChatBody),
    ("POST", "/v1/completions"): Operation("Answer one prompt or several", CompletionBody),
    ("POST", "/v1/decisions"): Operation("Answer questions by ranking choices", DecisionBody),
    ("POST", "/v1/embeddings"): Operation("Vectors of texts, as questions are embedded", EmbeddingBody),
    ("POST", "/v1/jobs"): Operation("Hand in one job or up to 10,000", JobsBody, status=202),
    ("GET", "/v1/jobs"): Operation(
        "A page of the owner's jobs, newest first",
        query=(("state", "string"), ("limit", "integer"), ("after", "string")),
    ),
    ("GET", "/v1/jobs/{id}"): Operation("How far a job is, and its answer once it is done"),
    ("DELETE", "/v1/jobs/{id}"): Operation("End a job, unless it has ended"),
    ("GET", "/v1/answers/{id}"): Operation("An answer with its mixture, neighbours and task distribution"),
    ("GET", "/v1/answers/{id}/explain"): Operation("Everything that is known about an answer"),
    ("POST", "/v1/answers/{id}/what-if"): Operation(
        "How an answer would be mixed under other settings; nothing is written", WhatIfBody
    ),
    ("POST", "/v1/answers/{id}/replay"): Operation(
        "An answer computed once more from its stored facts, and compared; nothing is recorded"
    ),
}

ERROR: Document = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}


@cache
def openapi() -> Document:
    """The document, made once; docs/api.md says what a schema cannot."""
    _, schemas = models_json_schema([(body, "validation") for body in BODIES], ref_template=REFERENCE)
    paths: dict[str, Document] = {}
    for (method, path), one in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _described(path, one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Loradex",
            "version": _release(),
            "description": "What OpenAI's clients speak, and jobs.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Error": ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(path: str, one: Operation) -> Document:
    named = [_parameter("id", "path", "string")] if "{id}" in path else []
    described: Document = {
        "summary": one.summary,
        "parameters": [*named, *(_parameter(name, "query", kind) for name, kind in one.query)],
        "responses": {
            str(one.status): {
                "description": "As docs/api.md says",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "default": {
                "description": "An error, in OpenAI's envelope",
                "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model="Error")}}},
            },
        },
        "security": [{"key": []}] if one.keyed else [],
    }
    if one.body is not None:
        schema: Document = {"$ref": REFERENCE.format(model=one.body.__name__)}
        if one.body is JobsBody:  # or one job by itself
            schema = {"anyOf": [schema, {"type": "object", "not": {"required": ["jobs"]}}]}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if path == "/readyz":
        described["responses"]["503"] = described["responses"][str(one.status)]
    return described


def _parameter(name: str, place: str, kind: str) -> Document:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": kind}}


def _release() -> str:
    try:
        return version("loradex")
    except PackageNotFoundError:  # on the path without being installed
        return "0"
