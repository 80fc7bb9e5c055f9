"""The OpenAPI document is what the API does, and whatever it allows, and much that it does not, is no fault of ours.

`make faults` sends more than 10,000 requests; otherwise it is a few of each kind.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from tests.fix_api import Served

from loradex.service.api.app import Api
from loradex.service.api.openapi import OPERATIONS, openapi
from loradex.service.client import AsyncClient

FEW, MANY = 3, 900
"""Cases of each operation; with the many, more than 10,000 in all."""
HOSTILE = 2000
"""Examples of the profile that `make faults` runs with."""
DEEPER = Path(__file__).with_name("recursion.py")
NOWHERE = "postgresql://nobody:x@127.0.0.1:9/none"


def test_the_document_has_every_path_and_no_other() -> None:
    api = Api(AsyncClient(NOWHERE, "redis://127.0.0.1:9/0"))
    served = {
        (method, route.path.replace(":path", ""))
        for route in api.routes()
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == OPERATIONS.keys()


def test_its_schemas_are_those_of_the_models(served: Served) -> None:
    document = served.http.get(f"{served.url}/v1/openapi.json").json()
    assert document == openapi()
    chat = document["components"]["schemas"]["ChatBody"]
    assert {"model", "messages"} <= set(chat["required"])
    assert {"stream", "loradex", "max_completion_tokens"} <= chat["properties"].keys()


@pytest.mark.timeout(3600)
def test_anything_is_answered_without_a_fault_of_ours(served: Served, tmp_path: Path) -> None:
    cases = MANY if settings.default is not None and settings.default.max_examples >= HOSTILE else FEW
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", f"{served.url}/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {served.alice}", "--max-examples", str(cases)),
            *("--checks", "not_a_server_error,content_type_conformance,response_schema_conformance"),
            *(
                "--phases",
                "coverage,fuzzing" if cases == MANY else "fuzzing",
                "--workers",
                "2",
                "--warnings",
                "off",
            ),
            *("--request-timeout", "120", "--seed", "20261201", "--generation-database", ":memory:"),
        ],
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(DEEPER)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    sent = re.search(r"(\d+) generated", done.stdout.replace(",", ""))
    assert sent is not None, done.stdout
    assert int(sent[1]) > (10_000 if cases == MANY else 20)
