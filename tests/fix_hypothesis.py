"""How long properties are looked at: a little in `make test`, long in `make faults`, which also counts."""

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

KNOCKS = pytest.StashKey[Counter[str]]()
"""Cases at each door of `tests/faults/test_hostile_input.py`."""

# A shared machine may pause any test for a second, so no case has a deadline of its own.
COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}

settings.register_profile("plain", settings(**COMMON))
settings.register_profile("hostile", settings(**COMMON, max_examples=2000, print_blob=True))
settings.load_profile("plain")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One JSON line with the cases at each door, if there were any."""
    counts = config.stash.get(KNOCKS, None)
    if counts:
        doors = dict(sorted(counts.items()))
        terminalreporter.write_line(json.dumps({"hostile_cases": sum(doors.values()), "doors": doors}))
