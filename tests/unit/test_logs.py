"""Whatever happens in a program that serves, what it says is one JSON object a line, and holds no text of an error."""

import json
import subprocess
import sys
from typing import Any

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
