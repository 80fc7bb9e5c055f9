"""Vectors over the API, asked for by OpenAI's own client and made by the worker that answers."""

import json
import socket
from typing import Any

import numpy as np
import openai
import pytest
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.tiny_library import TinyLibrary
from tests.until import until
from tests.worker_process import asleep

from loradex.db.session import connect
from loradex.service.api import embeddings
from loradex.worker.engine.embed import Encoder

TEXTS = ["The clouds turn dark.", "A kettle whistles.", "Roses want to be cut in spring."]


def test_vectors_are_those_that_questions_are_searched_with(
    served: Served, tiny_library: TinyLibrary
) -> None:
    client = served.client()
    # By itself the client asks for base64.
    answer = client.embeddings.create(model="loradex", input=TEXTS)
    expected = [one.vector for one in Encoder.load(tiny_library.encoder).embed_questions(TEXTS)]
    assert [one.index for one in answer.data] == [0, 1, 2]
    for one, vector in zip(answer.data, expected, strict=True):
        assert np.asarray(one.embedding) == pytest.approx(vector, abs=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    plain = client.embeddings.create(model=answer.model, input=TEXTS[0], encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(answer.data[0].embedding, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "status", "param"),
    [
        ({"model": "text-embedding-3-small"}, 404, "model"),
        ({"dimensions": 7}, 400, "dimensions"),
        ({"input": [[1, 2, 3]]}, 400, "input"),
        ({"input": [1, 2, 3]}, 400, "input"),
        ({"input": ["", "x"]}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": ["x"] * 2000}, 400, "input"),
        ({"encoding_format": "int8"}, 400, "encoding_format"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    served: Served, options: dict[str, Any], status: int, param: str
) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        served.client().embeddings.create(**{"model": "loradex", "input": "x", **options})
    assert (refused.value.status_code, refused.value.param) == (status, param)


def test_a_key_that_only_reads_asks_for_none(served: Served) -> None:
    _, key = served.key("alice", scopes=["read"])
    with pytest.raises(openai.PermissionDeniedError):
        served.client(key).embeddings.create(model="loradex", input="x")


def waiting(served: Served) -> int:
    with connect(served.database_url) as connection:
        (row,) = connection.execute("select count(*) from loradex.embeddings").fetchall()
    return int(row[0])


def test_a_wait_without_a_worker_has_an_end_and_leaves_nothing(
    served: Served, answering: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "SECONDS", 0.1)
    with asleep(answering.workers[0]):
        with pytest.raises(openai.APIStatusError) as refused:
            served.client().embeddings.create(model="loradex", input="x")
        assert (refused.value.status_code, refused.value.code) == (504, "wait_timeout")
        until(lambda: waiting(served) == 0)


def test_what_a_client_that_leaves_waited_for_goes_at_once(served: Served, answering: Stack) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    body = json.dumps({"model": "loradex", "input": "Nobody waits for this."})
    head = f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.alice}\r\n"
    with asleep(answering.workers[0]):
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            until(lambda: waiting(served) == 1)
        until(lambda: waiting(served) == 0)
