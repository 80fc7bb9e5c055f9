"""`/v1/answers/{id}/replay`: one's own answer computed once more from its stored facts, and compared.

This process has no model: the request waits in Postgres, a worker that has the model leaves the comparison there, and
it is taken away. Nothing is recorded.
"""

from typing import Any

from loradex.errors import UnknownAnswerError
from loradex.service.api.asking import WAIT_SECONDS, Asking
from loradex.service.api.errand import Errand
from loradex.service.api.problem import INTERNAL, NO_RETRY, Problem
from loradex.service.client import AsyncClient
from loradex.service.client.calls import uuid_of

SECONDS = WAIT_SECONDS
ERRAND = Errand(
    name="replay",
    ask="select loradex.ask_replay(%s) as id",
    take="select told, error_code, error_message from loradex.take_replay(%s)",
    leave="select loradex.leave_replay(%s)",
    longest_pause=0.5,
)
"""A text is written for seconds."""


async def replayed(client: AsyncClient, answer: str, asking: Asking) -> dict[str, Any]:
    """How the answer and its replay compare. `asking` has the request deleted when whoever asked has left.

    Raises:
        UnknownAnswerError: There is no such answer, or it is another's.
        ReplayRefusedError: It was erased, or its model is not at hand.
        QueueFullError: Too many wait.
        Problem: It could not be computed, or no worker did so in time.
    """
    wanted = uuid_of(answer, UnknownAnswerError)
    late = f"no worker replayed it within {SECONDS:g} s; ask again, or run loradex replay where a worker is"
    (row,) = await ERRAND.done(client, (wanted,), asking, SECONDS, late)
    if row["error_code"] == "internal":
        raise Problem(INTERNAL.status, INTERNAL.code, row["error_message"], headers=NO_RETRY)
    if row["error_code"] is not None:
        raise Problem(409, row["error_code"], row["error_message"], headers=NO_RETRY)
    return {"object": "replay", **row["told"]}
