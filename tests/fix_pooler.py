"""One PgBouncer for the whole run; without the program the test is skipped, or fails where CI is set."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.fix_db import PASSWORD
from tests.pooler import Pooler

from loradex.db.logins import GROUPS
from loradex.embedded import EmbeddedPostgres


@pytest.fixture(scope="session")
def pooler(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pooler]:
    owner = urlsplit(postgres.url)
    logins = {str(owner.username): str(owner.password)} | {group.login: PASSWORD for group in GROUPS}
    with Pooler(tmp_path_factory.mktemp("pooler"), postgres.url, logins) as started:
        yield started
