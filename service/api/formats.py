"""What a text is to be, as OpenAI's and vLLM's clients say it: a choice, any JSON, JSON by a schema, a pattern."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from loradex.constraint import ANY_OBJECT
from loradex.service.api.problem import refused


class NamedSchema(BaseModel):
    """OpenAI's way to give a schema; its name and description are not read, and it is always strict."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    name: str | None = None
    given: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class StructuredOutputs(BaseModel):
    """vLLM's spelling of the same; grammars and tags are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    choice: list[str] | None = None
    given: str | dict[str, Any] | None = Field(None, alias="json")
    json_object: bool | None = None
    regex: str | None = None


def held_to(form: ResponseFormat | None, outputs: StructuredOutputs | None) -> dict[str, Any]:
    """The fields of a job that say what its text is to be.

    Raises:
        Problem: A schema is missing, or more than one thing is asked for.
    """
    asked: list[tuple[str, Any]] = []
    if form is not None and form.type == "json_object":
        asked.append(("json_schema", ANY_OBJECT))
    if form is not None and form.type == "json_schema":
        if form.json_schema is None:
            raise refused("response_format of type json_schema needs a json_schema", "response_format")
        asked.append(("json_schema", form.json_schema.given))
    if outputs is not None:
        asked += [
            (name, value)
            for name, value in (
                ("choices", outputs.choice),
                ("json_schema", outputs.given),
                ("json_schema", ANY_OBJECT if outputs.json_object else None),
                ("regex", outputs.regex),
            )
            if value is not None
        ]
    if len(asked) > 1:
        raise refused(
            "a text is held to one thing; say either a choice, JSON or a regex", "structured_outputs"
        )
    return dict(asked)
