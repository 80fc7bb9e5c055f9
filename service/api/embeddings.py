"""`/v1/embeddings`: vectors of texts, as the encoder that questions are searched with makes them.

This process has no encoder: the texts wait in Postgres, a worker leaves the vectors there, and they are taken away.
"""

import base64
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, LiteralString

from loradex.errors import InvalidArgumentError
from loradex.service.api.asking import Asking
from loradex.service.api.bodies import Tolerant
from loradex.service.api.errand import Errand
from loradex.service.api.models import ROUTED
from loradex.service.api.problem import Problem, problem_of, refused
from loradex.service.client import AsyncClient

ENCODERS: LiteralString = """
    select e.name, e.dimensions from loradex.encoders e
    where e.retired_at is null
    order by e.name = (select value #>> '{}' from loradex.settings where name = 'encoder') desc, e.name"""
ERRAND = Errand(
    name="embeddings",
    ask="select loradex.ask_embeddings(%s, %s) as id",
    take="""
    select t.tokens, t.refusal, v.vector::real[] as vector
    from loradex.take_embeddings(%s) t
    left join lateral unnest(t.vectors) with ordinality v(vector, place) on true
    order by v.place""",
    leave="select loradex.leave_embeddings(%s)",
    longest_pause=0.1,
)
"""Vectors of a few texts are there after some milliseconds, and of a thousand after many seconds."""

SECONDS = 60.0


class EmbeddingBody(Tolerant):
    """OpenAI's fields. `input` may hold tokens too, which are refused by name."""

    model: str
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


async def embedded(client: AsyncClient, body: EmbeddingBody, asking: Asking) -> dict[str, Any]:
    """The response. `asking` has the request deleted when whoever asked has left.

    Raises:
        Problem: There is no such encoder, the input is no text, other dimensions are asked for, or no worker made the
            vectors in time.
    """
    texts = _texts(body.input)
    encoder, dimensions = await _encoder(client, body.model)
    if body.dimensions not in {None, dimensions}:
        raise refused(
            f"{encoder} makes vectors of {dimensions} dimensions and no others; leave dimensions out",
            "dimensions",
            "unsupported_parameter",
        )
    vectors, tokens = await _made(client, texts, encoder, asking)
    shown = _base64 if body.encoding_format == "base64" else list
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": shown(vector)}
            for place, vector in enumerate(vectors)
        ],
        "model": encoder,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _texts(given: str | list[Any]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if any(not isinstance(text, str) for text in texts):
        raise refused(
            "only texts are read here, since tokens are those of another model's tokenizer; LangChain sends texts with "
            "check_embedding_ctx_length=False",
            "input",
            "unsupported_content",
        )
    return texts


async def _encoder(client: AsyncClient, name: str) -> tuple[str, int]:
    """The encoder that is meant, and its dimensions; the first is the default one."""
    known = await client.rows(ENCODERS)
    for one in known:
        if name in {ROUTED, one["name"]}:
            return one["name"], one["dimensions"]
    names = ", ".join(one["name"] for one in known) or "none yet"
    raise Problem(
        404, "model_not_found", f"no encoder {ascii(name)[:100]}; there are {ROUTED}, {names}", "model"
    )


async def _made(
    client: AsyncClient, texts: Sequence[str], encoder: str, asking: Asking
) -> tuple[list[Sequence[float]], int]:
    """A vector for each text, and how many tokens were read."""
    late = f"no worker made the vectors within {SECONDS:g} s"
    try:
        rows = await ERRAND.done(client, (list(texts), encoder), asking, SECONDS, late)
    except InvalidArgumentError as error:
        raise replace(problem_of(error), param="input") from None
    if rows[0]["refusal"] is not None:
        raise refused(rows[0]["refusal"], "input")
    return [row["vector"] for row in rows], rows[0]["tokens"]


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
