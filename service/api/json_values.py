"""How many values a text of JSON holds, counted before any is made: an empty list is 3 bytes, and 70 in memory."""

import re

from loradex.service.api.problem import Problem

MOST_VALUES = 500_000
"""In one body."""

WINDOW = 1 << 16
SIGNS = (b"[", b"{", b",", b":")
MOST_MARKS = 2 * MOST_VALUES
"""Signs and texts. Of values that are no texts there are no more than signs, but for one."""

# What begins as a text and never ends is one too. Nothing is looked at twice.
TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+["\\]?', re.DOTALL)
WHOLE = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)


def require_few_values(raw: bytes | bytearray) -> None:
    """Refuse a body that would be far larger in memory than it is.

    Raises:
        Problem: It holds more than MOST_VALUES.
    """
    if _signs(raw) + raw.count(b'"') // 2 > MOST_MARKS and _marks(raw) > MOST_MARKS:
        raise Problem(
            413,
            "request_too_large",
            f"the body may hold {MOST_VALUES} values of JSON; send less, or several requests",
        )


def _marks(raw: bytes | bytearray) -> int:
    """Texts, and signs between them, or more than may be; a window at a time, since texts are taken out of it."""
    at = found = 0
    while at < len(raw) and found <= MOST_MARKS:
        whole = WHOLE.match(raw, at, at + WINDOW)
        if whole is not None and whole.end() > at:
            rest, texts = TEXT.subn(b"", raw[at : whole.end()])
            found += _signs(rest) + texts
            at = whole.end()
        else:  # a text that is longer than the window
            text = TEXT.match(raw, at)
            found += 1
            at = len(raw) if text is None else text.end()
    return found


def _signs(raw: bytes | bytearray) -> int:
    return sum(map(raw.count, SIGNS))
