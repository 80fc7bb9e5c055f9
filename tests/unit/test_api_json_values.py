"""Values of a body are counted before any is made, in a time that grows with the body and no faster."""

import json
import time
from contextlib import suppress

import pytest

pytest.importorskip("starlette", reason="of the extra serve")

from loradex.service.api.bodies import parsed
from loradex.service.api.incoming import MOST_BYTES_OF_JOBS
from loradex.service.api.json_values import MOST_VALUES, require_few_values
from loradex.service.api.problem import Problem

SIZE = MOST_BYTES_OF_JOBS // 4


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'{"a":0},', b'"ab",', b"0,", b'""'])
def test_a_body_of_tiny_values_is_refused_before_it_is_read(unit: bytes) -> None:
    """32 MB of empty lists would be 800 MB in memory, and nobody is served while they are made."""
    body = b"[" + unit * (SIZE // len(unit)) + b"0]"
    with pytest.raises(Problem, match="500000 values") as refused:
        parsed(body)
    assert (refused.value.status, refused.value.code) == (413, "request_too_large")


def test_what_stands_in_texts_is_not_counted() -> None:
    code = 'a[0], {"b": 1}\\"' * (SIZE // 20)
    body = json.dumps({"jobs": [{"prompt": code}] * 2}).encode()
    assert body.count(b",") > MOST_VALUES
    assert parsed(body) == {"jobs": [{"prompt": code}] * 2}
    many = json.dumps([[0]] * (MOST_VALUES // 2)).encode()
    assert len(parsed(many)) == MOST_VALUES // 2


@pytest.mark.parametrize("body", [b'["' + b'\\"' * SIZE, b'"' * SIZE, b'"\\' * SIZE, b'",' * SIZE])
def test_no_body_is_looked_at_twice(body: bytes) -> None:
    """Texts that never end make no work but their own. A second look at each of them would take hours."""
    started = time.monotonic()
    with suppress(Problem):
        require_few_values(body)
    assert time.monotonic() - started < 60
