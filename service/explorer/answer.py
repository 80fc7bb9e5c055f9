"""`/answers/{id}`: one answer, why it came out so, and whether its link holds."""

from collections.abc import Mapping
from typing import Any, LiteralString

from starlette.responses import Response

from loradex.errors import UnknownAnswerError
from loradex.service.client.calls import uuid_of
from loradex.service.explorer.evidence import verdict_on
from loradex.service.explorer.look import Look
from loradex.service.explorer.picture import picture_of
from loradex.service.explorer.scores import scored, title_of
from loradex.service.explorer.timeline import spans

DOCUMENT: LiteralString = """
    with document as materialized (select loradex.explain(%(answer)s) as told)
    select d.told, m.selection
    from document d
    left join loradex.methods m on m.name = d.told ->> 'method'"""

RATED: LiteralString = """
    select rating, owner, created_at from loradex.feedback where answer_id = %s order by id desc limit 10"""

SQL = "select jsonb_pretty(loradex.explain('{answer}'));"
PYTHON = """from loradex import Client

with Client() as client:
    answer = client.explain("{answer}")
"""
COMMAND = "loradex explain {answer}\nloradex replay {answer}"
SAID_ELSEWHERE = {"choices", "draws", "framed", "prior"}
"""Of what was noted of its generation: it has a place of its own on the page."""

MOST_TOKENS = 200
"""Tokens whose log-probabilities are listed."""


async def page(look: Look) -> Response:
    """The page."""
    told, selection = await _found(look)
    answer = told["answer_id"]
    drawn = picture_of(told["neighbours"], told["distribution"], told["mixture"], selection)
    verdict = await verdict_on(look.viewer, answer, told["chain"]["position"])
    return look.page(
        "answer.html",
        {
            "told": told,
            "scores": scored(told),
            "title": title_of(told),
            "most_tokens": MOST_TOKENS,
            "picture": drawn,
            "selection": selection,
            "spans": spans(told["timings"]),
            "generation": {
                name: value
                for name, value in told["generation"].items()
                if name not in SAID_ELSEWHERE and value is not None
            },
            "verdict": verdict,
            "ratings": await look.source.rows(RATED, (answer,)),
            "asks": look.viewer.client is not None,
            "copies": {
                "SQL": SQL.format(answer=answer),
                "Python": PYTHON.format(answer=answer),
                "Shell": COMMAND.format(answer=answer),
                "JSON": _outline(told),
            },
        },
    )


async def document(look: Look) -> Response:
    """The document that SQL makes of it, whole."""
    told, _ = await _found(look)
    return look.document(told)


async def _found(look: Look) -> tuple[dict[str, Any], str | None]:
    wanted = uuid_of(look.http.path_params["id"], UnknownAnswerError)
    (row,) = await look.source.rows(DOCUMENT, {"answer": wanted})
    return row["told"], row["selection"]


def _outline(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """The decision alone, to paste somewhere; the whole document is a link."""
    return {
        "answer_id": told["answer_id"],
        "method": told["method"],
        "distribution": told["distribution"],
        "mixture": told["mixture"],
        "chain": told["chain"],
    }
