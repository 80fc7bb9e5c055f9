"""What a test needs and a machine may lack: `.ci/run` installs it, so there a test without it fails."""

import os
import shutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

SYSTEM_PROGRAMS = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Where Debian puts servers; a user's PATH need not name it."""


def skip_or_fail(reason: str) -> NoReturn:
    """End the test, since this machine lacks what `reason` says: skipped, or failed where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; .ci/run installs what tests need", pytrace=False)
    pytest.skip(reason)


def program(name: str) -> str:
    """The path of an installed program; without it the test ends by `skip_or_fail`."""
    path = os.environ.get("PATH", os.defpath) + os.pathsep + SYSTEM_PROGRAMS
    found = shutil.which(name, path=path)
    if found is None:
        skip_or_fail(f"the program {name} is not installed here")
    return found


def package(name: str) -> ModuleType:
    """An installed Python package of an extra; without it the test ends by `skip_or_fail`."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        skip_or_fail(f"the package {name} is not installed here")


def system_library(name: str) -> Path:
    """The path of an installed shared library, `libfaketime.so.1`; without it the test ends by `skip_or_fail`."""
    found = sorted(Path("/usr/lib").glob(f"*-linux-*/**/{name}"))
    if not found:
        skip_or_fail(f"the library {name} is not installed here")
    return found[0]
