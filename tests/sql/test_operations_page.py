"""What the operator's page tells one to ask, a reader may ask, and it gives rows."""

import re

import pytest
from tests.fix_db import RoleUrl
from tests.repository import ROOT
from tests.world import World

from loradex.db.session import connect
from loradex.service import cli
from loradex.service.cli import lazy

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_there_are_queries() -> None:
    assert len(QUERIES) >= 3


@pytest.mark.parametrize("query", QUERIES)
def test_a_reader_may_ask_it(world: World, role_url: RoleUrl, query: str) -> None:
    world.answered({}, {})
    (job,) = world.enqueue({})
    attempt = world.claim()[job]
    world.rows("select loradex.fail_job(%s, %s, 'adapter_changed', 'put it back')", job, attempt)

    with connect(role_url("loradex_reader")) as connection:
        assert len(connection.execute(query.encode()).fetchall()) == 1


def test_every_command_it_names_exists() -> None:
    named = set(re.findall(r"loradex ((?:db|audit|adapter) [a-z]+|up|down|status)\b", PAGE))
    for command in named:
        group, _, part = command.partition(" ")
        loaded = lazy.load(group, cli.COMMANDS[group])
        assert not part or part in loaded.commands, command
