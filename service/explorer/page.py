"""From a template and what it shows to a response whose text can do no harm in a browser."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from loradex.terminal import safe

ROOM = files("loradex.service.explorer")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
"""For files whose address changes with what is in them."""

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
DIGITS = 12


class Pages:
    """The templates and the files beside them, read once."""

    def __init__(self) -> None:
        self._files = {
            one.name: one.read_bytes()
            for one in (ROOM / "static").iterdir()
            if one.name.endswith(tuple(KINDS))
        }
        self._templates = Environment(
            loader=FileSystemLoader(str(ROOM / "templates")),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=harmless,
        )
        self._templates.filters |= {
            "shortened": shortened,
            "clipped": clipped,
            "chosen": chosen,
            "spoken": spoken,
            "moment": moment,
            "second": second,
            "number": number,
            "as_json": as_json,
        }
        self._templates.globals["static"] = {
            name: f"/static/{_version(content)}/{name}" for name, content in self._files.items()
        }

    def shown(
        self,
        template: str,
        values: Mapping[str, Any],
        status: int = 200,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Response:
        """The page."""
        page = self._templates.get_template(template).render(values)
        return HTMLResponse(page, status, headers={**HEADERS, **headers})

    def file(self, version: str, name: str) -> Response | None:
        """The file of that name, if this version of it is what is here: the address is good for ever."""
        content = self._files.get(name)
        if content is None or version != _version(content):
            return None
        kind = KINDS[name[name.rindex(".") :]]
        return Response(content, media_type=kind, headers=HEADERS | FOREVER)


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def harmless(value: Any) -> Any:
    """What a template prints, with characters that cannot be seen, or that change directions, as their escapes."""
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def shortened(text: str, most: int) -> str:
    """The beginning of a text, and how long the whole is where that is not all of it."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def clipped(text: str, most: int) -> str:
    """The beginning of a name, where there is no room for more."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is not None."""
    return {name: value for name, value in values.items() if value is not None}


def spoken(period: str) -> str:
    """A period as it stands after "the last": day, 7 days."""
    return period.removeprefix("1 ")


def moment(when: datetime | str) -> Markup:
    """A time in UTC, which the script of the page shows as the reader writes times."""
    told = datetime.fromisoformat(when) if isinstance(when, str) else when
    told = told.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        told.isoformat(timespec="milliseconds"), told.strftime("%Y-%m-%d %H:%M:%S")
    )


def second(when: datetime, later: int = 0) -> str:
    """A time in UTC as a form has it, in whole seconds, some later."""
    return (when.astimezone(UTC) + timedelta(seconds=later)).strftime("%Y-%m-%dT%H:%M:%S")


def number(value: float | None, digits: int = 0) -> Markup:
    """A number, which the script of the page shows as the reader writes numbers; a dash for none."""
    if value is None:
        return Markup("&ndash;")
    return Markup('<data class="number" value="{}" data-digits="{}">{}</data>').format(
        format(value, f".{digits}f"), digits, format(value, f",.{digits}f")
    )


def as_json(value: Any) -> str:
    """A document as it is read and copied."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
