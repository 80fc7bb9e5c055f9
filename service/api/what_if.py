"""`/v1/answers/{id}/what-if`: one's own answer routed again with other settings, in SQL alone; nothing is written."""

from typing import Any, LiteralString

from pydantic import BaseModel, ConfigDict

from loradex.errors import UnknownAnswerError
from loradex.service.client import AsyncClient
from loradex.service.client.calls import uuid_of

ROUTE: LiteralString = """
    select loradex.what_if(
        %(answer)s, %(k)s::int, %(top_p)s, %(temperature)s, %(method)s, %(exclude_tasks)s, %(exclude_adapters)s
    ) as told"""


class WhatIfBody(BaseModel):
    """Settings of the routing, by a job's names; what is left out stays as the answer had it."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    k: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    method: str | None = None
    exclude_tasks: list[str] | None = None
    exclude_adapters: list[str] | None = None


async def routed_again(client: AsyncClient, answer: str, body: WhatIfBody) -> dict[str, Any]:
    """Tasks and mixture as they would be today.

    Raises:
        InvalidArgumentError: A setting is out of range, or the method does not look at neighbours.
        UnknownNameError: There is no such method, task or adapter.
        UnknownAnswerError: There is no such answer, it is another's, or it was erased.
    """
    wanted = {"answer": uuid_of(answer, UnknownAnswerError), **body.model_dump()}
    (row,) = await client.rows(ROUTE, wanted)
    return {"object": "what_if", **row["told"]}
