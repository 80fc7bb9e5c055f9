"""A process that is forked begins anew with its client, and its parent notices nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fix_valkey import NewRedisUrl

REPOSITORY = Path(__file__).parents[2]
ENOUGH_SECONDS = 60


def program(module: str, *arguments: str) -> list[str]:
    """What a program of the tests prints."""
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=ENOUGH_SECONDS,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_a_client_goes_on_in_both_processes(
    stocked_database: str, new_redis_url: NewRedisUrl, how: str
) -> None:
    assert program("tests.forking", stocked_database, new_redis_url(), how) == ["child", "parent"]


def test_a_client_of_a_loop_is_of_one_process(stocked_database: str, new_redis_url: NewRedisUrl) -> None:
    assert program("tests.forking", stocked_database, new_redis_url(), "asyncio") == ["child", "parent"]
