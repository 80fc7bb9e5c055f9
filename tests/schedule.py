"""What runs beside what: long files start first, and files that share something dear stay in one process."""

import pytest
from xdist.scheduler import LoadFileScheduling

# Folders whose files take longest; the others fill what is left at the end.
FIRST = ("acceptance", "faults", "integration")
# What each group shares is made once: an environment of wheels and a stack with the real base model; the starter
# library with answered questions (`starter`); thousands of vectors and answers (`many`).
TOGETHER = (
    ("tests/acceptance/test_wheels.py", "tests/acceptance/test_first_minutes.py"),
    (
        *("tests/acceptance/test_notebook.py", "tests/integration/test_docs_sql.py"),
        *("tests/integration/test_explorer.py", "tests/integration/test_explorer_doors.py"),
        "tests/integration/test_explorer_map.py",
    ),
    ("tests/sql/test_every_function.py", "tests/sql/test_plans.py", "tests/sql/test_routing.py"),
)
GROUP = {file: files[0] for files in TOGETHER for file in files}


class Schedule(LoadFileScheduling):
    """Hands out whole files, and each group of `TOGETHER` as if it were one file."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return GROUP.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Schedule | None:
    """Ours where files stay whole: with `--dist loadfile`."""
    return Schedule(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups of files first, then long folders; within a folder the order stays as it was drawn."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if item.nodeid.partition("::")[0] in GROUP:
        return -1
    folder = item.path.parent.name
    return FIRST.index(folder) if folder in FIRST else len(FIRST)
