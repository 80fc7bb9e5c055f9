"""`/answers/{id}/replay`: an answer computed once more by a worker, from its own facts, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from starlette.responses import RedirectResponse, Response

from loradex.errors import UnknownAnswerError
from loradex.service.api.replays import replayed
from loradex.service.client.calls import uuid_of
from loradex.service.explorer.look import Look
from loradex.service.explorer.page import HEADERS

RECORDED: LiteralString = """
    select worker, base_model, base_model_revision, generation, versions from loradex.answers where id = %s"""
OF_A_MACHINE = ("device", "dtype", "attention", "quantization", "device_map")
"""What `generation` holds of how it was computed."""


@dataclass(frozen=True)
class Circumstance:
    """One of what an answer was computed by and with, then and now; None where nothing was noted."""

    name: str
    then: str | None
    now: str | None

    @property
    def differs(self) -> bool:
        """Whether it may be why something came out otherwise."""
        return self.then != self.now


async def ask(look: Look) -> Response:
    """The page: what a worker that has the model says, once it is there. Nothing of it is kept."""
    answer = str(uuid_of(look.http.path_params["id"], UnknownAnswerError))
    told = await replayed(look.asking(), answer, look.errands)
    (recorded,) = await look.source.rows(RECORDED, (answer,))
    return look.page("replay.html", {"told": told, "computed": computed(recorded, told["replayed_by"])})


async def page(look: Look) -> Response:
    """There is nothing to come back to: the answer has the button."""
    answer = uuid_of(look.http.path_params["id"], UnknownAnswerError)
    return RedirectResponse(f"/answers/{answer}", 303, headers=HEADERS)


def computed(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Sequence[Circumstance]:
    """Who and what computed an answer, and its replay."""
    then = {name: recorded[name] for name in ("worker", "base_model", "base_model_revision")}
    then |= {name: recorded["generation"].get(name) for name in OF_A_MACHINE}
    rows = [Circumstance(name, _said(then[name]), _said(now.get(name))) for name in then]
    versions = recorded["versions"], now.get("versions", {})
    names = sorted({*versions[0], *versions[1]})
    return [*rows, *(Circumstance(name, *(_said(one.get(name)) for one in versions)) for name in names)]


def _said(value: object) -> str | None:
    return None if value is None else str(value)
