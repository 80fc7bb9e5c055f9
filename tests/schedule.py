"""What runs beside what: long files start first, and files that share something dear stay in one process."""

import pytest
from xdist.scheduler import LoadFileScheduling

# Folders whose files take longest; the others fill what is left at the end.
FIRST = ("acceptance", "faults", "integration")
# These files share one environment of wheels and one stack with the real base model.
TOGETHER = ("tests/acceptance/test_wheels.py", "tests/acceptance/test_first_minutes.py")


class Schedule(LoadFileScheduling):
    """Hands out whole files, and `TOGETHER` as if it were one file."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return TOGETHER[0] if file in TOGETHER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Schedule | None:
    """Ours where files stay whole: with `--dist loadfile`."""
    return Schedule(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long folders first; within a folder the order stays as it was drawn."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return FIRST.index(folder) if folder in FIRST else len(FIRST)
