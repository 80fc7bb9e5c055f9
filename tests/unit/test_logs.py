"""Whatever happens in a program that serves, what it says is one JSON object a line, and holds no text of an error."""

import json
import subprocess
import sys
from typing import Any

import pytest

SECRET = "Does the moon know 4711?"
BEGINNING = """
import logging, sys, threading, warnings
from loradex.logs import FIELDS, adopt, log_as_json
log_as_json()
"""
CASES = {
    "logging.getLogger('loradex.x').info('said', extra={FIELDS: {'job': 1}})": ("said", "info"),
    "logging.getLogger('other').warning('two\\nlines')": ("two\nlines", "warning"),
    "logging.getLogger('other').info('not said')": None,
    "warnings.warn('beware', RuntimeWarning)": ("beware", "warning"),
    "sys.last = threading.Thread(target=lambda: [][SECRET], name='t'); sys.last.start(); sys.last.join()": (
        "thread.crashed",
        "error",
    ),
    "type('Gone', (), {'__del__': lambda _: 1 / 0})()": ("thread.crashed", "error"),
    "raise ValueError(SECRET)": ("program.crashed", "critical"),
}


def lines_of(program: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", f"SECRET = {SECRET!r}\n{BEGINNING}\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert SECRET not in done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_each_line_is_json_to_the_last() -> None:
    said = lines_of("\n".join(CASES))
    wanted = [one for one in CASES.values() if one is not None]
    assert len(said) == len(wanted)
    for line, (event, level) in zip(said, wanted, strict=True):
        assert event in line["event"]
        assert line["level"] == level
        assert {"logger", "timestamp"} <= line.keys()
    assert said[0]["job"] == 1
    assert [line["exception"] for line in said if "exception" in line] == [
        *("TypeError", "ZeroDivisionError", "ValueError"),
    ]


def test_a_library_s_own_handler_is_taken_from_it() -> None:
    (line,) = lines_of(
        "one = logging.getLogger('theirs'); one.addHandler(logging.StreamHandler()); one.propagate = False\n"
        "adopt(); one.warning('heard')"
    )
    assert line["event"] == "heard"


def test_a_library_says_warnings_alone_whatever_it_or_we_wish() -> None:
    """Its information may hold an address with a signature, a prompt or a password."""
    said = lines_of(
        "log_as_json('debug')\n"
        "for name in ('theirs', 'theirs.part', 'loradexes'):\n"
        "    one = logging.getLogger(name); one.setLevel('DEBUG')\n"
        "    one.debug(SECRET); one.info(SECRET); one.warning('beware')\n"
        "logging.getLogger('loradex.x').debug('ours')\n"
        "log_as_json('error')\n"
        "one.warning('not said'); one.error('broken')"
    )
    assert [line["event"] for line in said] == ["beware", "beware", "beware", "ours", "broken"]


WORKER = """
import structlog
from loradex.worker.logs import log_as_json
log_as_json({level!r})
for name in ("celery", "httpx2", "another"):
    logging.getLogger(name).info(SECRET)
structlog.get_logger("answering").info("job.answered", job=1)
structlog.get_logger("answering").debug("looked")
"""


@pytest.mark.parametrize(("level", "told"), [("debug", 2), ("info", 1), ("warning", 0)])
def test_the_level_of_a_worker_is_that_of_what_loradex_says(level: str, told: int) -> None:
    said = lines_of(WORKER.format(level=level))
    assert [line["event"] for line in said] == ["job.answered", "looked"][:told]
    assert {line["logger"] for line in said} <= {"loradex.answering"}
