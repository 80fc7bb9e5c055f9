"""Offers of another protocol are ignored, as HTTP allows; httptools by itself stops at one and drops the body."""

from typing import Any

from httptools import HttpParserUpgrade, HttpRequestParser

OFFER = b"upgrade"
TUNNEL = b"CONNECT"
"""A method after which another protocol follows whatever the head says; nobody is let through here."""


class Parser(HttpRequestParser):
    """httptools' parser, which reads a head with an offer once more, without the offer.

    Java's HttpClient and `curl --http2` offer HTTP/2 (`h2c`) with each request that is not encrypted.
    """

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)
        self._protocol = protocol
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    @property
    def offered(self) -> bool:
        """Whether the head that was just read has an offer, so that it will be read once more."""
        return bool(self.should_upgrade()) and self.get_method() != TUNNEL

    def feed_data(self, data: Any) -> None:
        """Called by uvicorn with what came."""
        rest = memoryview(data)
        while True:
            try:
                super().feed_data(rest)
            except HttpParserUpgrade as stopped:
                if not self.offered:
                    raise
                rest = rest[stopped.args[0] :]
            else:
                return
            super().feed_data(self._head())

    def _head(self) -> bytes:
        """The head, without its offer. Each header is on one line: the parser refuses others."""
        lines = [self.get_method() + b" " + self._protocol.url + b" HTTP/" + self.get_http_version().encode()]
        lines += [name + b": " + value for name, value in self._protocol.headers if name != OFFER]
        return b"\r\n".join([*lines, b"", b""])
