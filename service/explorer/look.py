"""One look of somebody at one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from loradex.service.api.asking import Asking
from loradex.service.api.problem import Problem, refused
from loradex.service.client import AsyncClient
from loradex.service.explorer.edges import KnownEdges
from loradex.service.explorer.entrance import Viewer
from loradex.service.explorer.filters import Edges
from loradex.service.explorer.page import HEADERS, Pages
from loradex.service.explorer.rows import Rows

FOR_ALL = (("Answers", "/answers"),)
FOR_WHO_ASKS = (*FOR_ALL, ("Playground", "/playground"))
FOR_WHO_SEES_EVERYTHING = (
    *FOR_ALL,
    ("What if", "/what-if"),
    ("Map", "/map"),
    ("Adapters and tasks", "/adapters"),
    ("Health", "/health"),
)
"""The pages in the head of each page: title, address."""


@dataclass(frozen=True)
class Look:
    """What a page needs to know.

    Attributes:
        http: The request.
        viewer: Who looks.
        pages: The templates.
        known_edges: Where domains end, as it was found lately.
        errands: Does what is to be done for those who left.
        form: What a form said, which came from a page of this site; empty where none was sent.
    """

    http: Request
    viewer: Viewer
    pages: Pages
    known_edges: KnownEdges
    errands: Asking
    form: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def source(self) -> Rows:
        """Reads what this person may see."""
        return self.viewer.source

    async def edges(self) -> Edges:
        """Where the domain of each encoder ends."""
        return await self.known_edges.found(self.viewer)

    def page(self, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """The page, with its head."""
        alone = FOR_ALL if self.viewer.client is None else FOR_WHO_ASKS
        places = FOR_WHO_SEES_EVERYTHING if self.viewer.everything else alone
        head = {"places": places, "here": self.http.url.path, "everything": self.viewer.everything}
        return self.pages.shown(template, {**head, **values}, status)

    def said(self, name: str) -> str:
        """What the form said under this name; empty where it said nothing.

        Raises:
            Problem: It holds what Postgres cannot.
        """
        told = self.form.get(name, ("",))[0].replace("\r\n", "\n")
        if "\0" in told:
            raise refused(f"{name} must not contain NUL characters", name)
        return told

    def document(self, value: Any) -> Response:
        """The same as JSON."""
        return JSONResponse(value, headers=HEADERS)

    def text(self, value: str, kind: str, name: str) -> Response:
        """The same as a file to keep."""
        kept = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(value, media_type=kind, headers=HEADERS | kept)

    def bytes(self, value: bytes) -> Response:
        """Figures for a script of the page."""
        return Response(value, media_type="application/octet-stream", headers=HEADERS)

    def asking(self) -> AsyncClient:
        """Asks for who looks; whether their key may ask, Postgres says.

        Raises:
            Problem: This explorer reads alone.
        """
        if self.viewer.client is None:
            raise Problem(
                403,
                "permission_refused",
                "`loradex explore` reads alone: to ask, open the address of `loradex serve` with a key",
            )
        return self.viewer.client

    def require_everything(self) -> None:
        """Refuse who sees only what is theirs.

        Raises:
            Problem: This page is about all there is.
        """
        if not self.viewer.everything:
            raise Problem(
                403,
                "permission_refused",
                "this page shows what all tenants share, and a key shows what is yours: whoever runs Loradex opens "
                "it with `loradex explore`",
            )
