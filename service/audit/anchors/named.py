"""The anchors that LORADEX_ANCHOR names."""

from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, parse_qs, urlsplit

from loradex.errors import InvalidArgumentError
from loradex.service.audit.anchors.anchor import Anchor

FORMS = "file:///directory/file, postgresql://…, s3://bucket/prefix, tsp+https://authority?keep=…&roots=…"


class _UnfitError(ValueError):
    """Why an address is none, without the address."""


def anchors(urls: str | None) -> list[Anchor]:
    """One anchor for each URL, which blanks or line ends separate; none for nothing.

    Raises:
        InvalidArgumentError: A URL is not one of an anchor; it is not repeated, since it may hold a password.
    """
    return [_anchor(place, url) for place, url in enumerate((urls or "").split(), start=1)]


def _anchor(place: int, url: str) -> Anchor:
    try:
        parts = urlsplit(url)
        make = KINDS[parts.scheme]
        return make(url, parts, {name: values[-1] for name, values in parse_qs(parts.query).items()})
    except (KeyError, ValueError) as error:
        missing = f": it lacks {error}" if isinstance(error, KeyError) and parts.scheme in KINDS else ""
        if isinstance(error, _UnfitError):
            missing = f": {error}"
        raise InvalidArgumentError(
            f"LORADEX_ANCHOR: address {place} cannot be read{missing}; an anchor is one of {FORMS}"
        ) from None


def _file(_url: str, parts: SplitResult, _options: Mapping[str, str]) -> Anchor:
    from loradex.service.audit.anchors.file import FileAnchor

    if parts.netloc or not parts.path.strip("/"):
        raise ValueError(parts.scheme)
    return FileAnchor(parts.path)


def _postgres(url: str, _parts: SplitResult, _options: Mapping[str, str]) -> Anchor:
    from loradex.service.audit.anchors.postgres import PostgresAnchor

    return PostgresAnchor(url)


def _s3(_url: str, parts: SplitResult, options: Mapping[str, str]) -> Anchor:
    from loradex.service.audit.anchors.s3 import S3Anchor

    if not parts.netloc:
        raise ValueError(parts.scheme)
    days = int(options.get("days", S3Anchor.DAYS))
    return S3Anchor(parts.netloc, parts.path.strip("/"), days, options.get("endpoint"), options.get("region"))


def _tsp(_url: str, parts: SplitResult, options: Mapping[str, str]) -> Anchor:
    from loradex.service.audit.anchors.timestamp import TimestampAnchor

    if "@" in parts.netloc:
        raise _UnfitError("an authority is asked without user and password")
    if not parts.hostname or parts.port == 0:  # a port that is no number raises here
        raise ValueError(parts.scheme)
    authority = parts._replace(scheme=parts.scheme.removeprefix("tsp+"), query="", fragment="").geturl()
    return TimestampAnchor(authority, options["keep"], options["roots"])


KINDS: Mapping[str, Callable[[str, SplitResult, Mapping[str, str]], Anchor]] = {
    "file": _file,
    "postgresql": _postgres,
    "s3": _s3,
    "tsp+http": _tsp,
    "tsp+https": _tsp,
}
