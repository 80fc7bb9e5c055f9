"""What came with installed packages: our task cards, and libraries such as `loradex-starter`."""

from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from loradex.errors import LibraryMissingError

TASKS_DIRECTORY = Path(str(files("loradex.library") / "tasks"))
"""The task cards of Loradex's own library."""

GROUP = "loradex.libraries"
"""Entry points: a library's name, and a function that gives its directory."""

STARTER = "smollm2-135m-instruct"


def installed_libraries() -> dict[str, Path]:
    """Library name → directory, for every installed package that announces one."""
    return {found.name: Path(found.load()()) for found in entry_points(group=GROUP)}


def starter_library() -> Path:
    """The directory of the starter library.

    Raises:
        LibraryMissingError: The package `loradex-starter` is not installed.
    """
    libraries = installed_libraries()
    if STARTER not in libraries:
        raise LibraryMissingError(
            "the starter library is not installed: pip install loradex-starter, or name a library's directory"
        )
    return libraries[STARTER]
