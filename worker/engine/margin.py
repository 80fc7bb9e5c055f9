"""What of the white space around a text that a model wrote is the text's own."""

import re

BLANK_LINES = re.compile(r"\A\s*\n")
LONE_SPACE = re.compile(r"\A (?!\s)")


def own_text(written: str) -> str:
    """The text without its margin.

    White space at its end, blank lines before it, and a single space before it, which only parts it from the prompt,
    are not its own. Any other indentation of its first line is.
    """
    return own_start(written.rstrip())


def own_start(written: str) -> str:
    """The same for the beginning alone, which must have more than white space in it."""
    return LONE_SPACE.sub("", BLANK_LINES.sub("", written))
