"""Reads the URLs of servers, so that nobody else's error repeats half a password."""

import re

from loradex.errors import InvalidArgumentError

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
"""A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port."""


def require_unambiguous_url(url: str, setting: str) -> str:
    """The URL as it is, if its parts can be told apart; text that is not a URL is left to whoever reads it.

    A password with a bare `@`, `/`, `?` or `#` moves the borders of host and port, and whoever then complains
    about that host or port prints a piece of the password.

    Raises:
        InvalidArgumentError: They cannot; the URL is not repeated.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    beyond = rest[len(authority) :]
    user, at, hosts = authority.rpartition("@")
    parts_are_clear = (
        "@" not in user
        and (at or "@" not in beyond)
        and all(_HOST.fullmatch(host) for host in hosts.split(","))
    )
    if not scheme or not parts_are_clear:
        raise InvalidArgumentError(
            f"{setting} cannot be read: write it as scheme://user:password@host:port/name, and in the "
            "password @ as %40, : as %3A, / as %2F, ? as %3F, # as %23"
        )
    return url
