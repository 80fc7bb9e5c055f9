"""`/answers/{id}/replay`: an answer computed once more by a worker, from its own facts, and what came of it."""

from starlette.responses import RedirectResponse, Response

from loradex.errors import UnknownAnswerError
from loradex.service.api.replays import replayed
from loradex.service.client.calls import uuid_of
from loradex.service.explorer.look import Look
from loradex.service.explorer.page import HEADERS


async def ask(look: Look) -> Response:
    """The page: what a worker that has the model says, once it is there. Nothing of it is kept."""
    answer = str(uuid_of(look.http.path_params["id"], UnknownAnswerError))
    told = await replayed(look.asking(), answer, look.errands)
    return look.page("replay.html", {"told": told})


async def page(look: Look) -> Response:
    """There is nothing to come back to: the answer has the button."""
    answer = uuid_of(look.http.path_params["id"], UnknownAnswerError)
    return RedirectResponse(f"/answers/{answer}", 303, headers=HEADERS)
