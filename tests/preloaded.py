"""Libraries between a program and its system: a clock that can be set, a name service that can fail."""

from collections.abc import Mapping
from pathlib import Path

from tests.needs import system_library

CLOCK_SECONDS = 1.0
"""A clock that is set is believed after this long: the file is not read for each look at the clock."""


def clock(file: Path) -> Mapping[str, str]:
    """Environment of a program whose clock is off by what `file` says, such as `+1h`.

    Its timers go on as they were: setting a clock does not touch them.
    """
    return {
        "LD_PRELOAD": str(system_library("libfaketimeMT.so.1")),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": str(int(CLOCK_SECONDS)),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def names(file: Path) -> Mapping[str, str]:
    """Environment of a program that knows the host names in `file`, written as `/etc/hosts` is, and no others."""
    return {"LD_PRELOAD": str(system_library("libnss_wrapper.so")), "NSS_WRAPPER_HOSTS": str(file)}


def both(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Two of these at once."""
    return {**one, **other, "LD_PRELOAD": f"{one['LD_PRELOAD']}:{other['LD_PRELOAD']}"}
