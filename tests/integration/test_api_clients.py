"""Clients that others wrote, as they come from their registries: LangChain's, and the AI SDK in JavaScript."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.fix_api import Served
from tests.needs import program, skip_or_fail
from tests.repository import ROOT

CLIENTS = ROOT / "tests" / "clients"
QUESTION = "Is it late?"
LATE = {
    "title": "Late",
    "type": "object",
    "properties": {"late": {"type": "boolean"}},
    "required": ["late"],
    "additionalProperties": False,
}


@pytest.fixture
def _langchain_installed() -> None:
    if importlib.util.find_spec("langchain_openai") is None:
        skip_or_fail("langchain-openai is not installed here")


def langchain(served: Served, **options: Any) -> Any:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - it takes a second to import

    base = {"model": "loradex", "max_completion_tokens": 3, "max_retries": 0}
    return ChatOpenAI(base_url=f"{served.url}/v1", api_key=served.alice, **{**base, **options})


@pytest.mark.usefixtures("_langchain_installed")
def test_langchain_asks_streams_and_is_refused(served: Served) -> None:
    chat = langchain(served, seed=7)
    whole = chat.invoke(QUESTION)
    assert whole.response_metadata["finish_reason"] in {"stop", "length"}
    assert whole.usage_metadata["total_tokens"] > 3
    pieces = list(chat.stream(QUESTION, stream_usage=True))
    assert "".join(piece.content for piece in pieces) == whole.content
    assert [piece.usage_metadata for piece in pieces if piece.usage_metadata][-1] is not None
    ranked = langchain(served, extra_body={"loradex": {"choices": ["yes", "no"]}}).invoke(QUESTION)
    assert ranked.content in {"yes", "no"}
    late = langchain(served, max_completion_tokens=40).with_structured_output(LATE, method="json_schema")
    assert late.invoke(QUESTION)["late"] in {True, False}
    with pytest.raises(openai.NotFoundError) as unknown:
        langchain(served, model="gpt-4o").invoke(QUESTION)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as tools:
        chat.bind_tools([{"name": "clock", "description": "tells the time", "parameters": {}}]).invoke(
            QUESTION
        )
    assert tools.value.param == "tools"


@pytest.mark.usefixtures("_langchain_installed")
def test_langchain_embeds(served: Served) -> None:
    from langchain_openai import OpenAIEmbeddings  # noqa: PLC0415

    made = OpenAIEmbeddings(
        base_url=f"{served.url}/v1",
        api_key=served.alice,
        model="loradex",
        check_embedding_ctx_length=False,
        max_retries=0,
    )
    one, two = made.embed_documents(["The clouds turn dark.", "A kettle whistles."])
    assert len(one) == len(two) > 0
    assert made.embed_query("The clouds turn dark.") == pytest.approx(one, abs=1e-5)


@pytest.fixture(scope="module")
def ai_sdk(served: Served) -> Any:
    """What the AI SDK was told."""
    node = program("node")
    if not (CLIENTS / "node_modules").is_dir():
        skip_or_fail("the packages of tests/clients are not installed here (npm ci --prefix tests/clients)")
    done = subprocess.run(
        [node, Path("ask.mjs"), f"{served.url}/v1"],
        cwd=CLIENTS,
        env={**os.environ, "LORADEX_API_KEY": served.alice},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_ai_sdk_asks_and_streams(ai_sdk: Any) -> None:
    assert ai_sdk["whole"]["reason"] in {"stop", "length"}
    assert ai_sdk["whole"]["usage"]["totalTokens"] > 3
    assert "".join(ai_sdk["pieces"]) == ai_sdk["whole"]["text"]
    assert ai_sdk["streamed"]["reason"] == ai_sdk["whole"]["reason"]
    assert ai_sdk["streamed"]["usage"] == ai_sdk["whole"]["usage"]
    assert ai_sdk["ranked"] in {"yes", "no"}
    assert ai_sdk["object"]["late"] in {True, False}
    assert len(ai_sdk["vectors"]) == 2
    assert ai_sdk["vectors"][0] == ai_sdk["vectors"][1] > 0


def test_the_ai_sdk_is_refused_by_name(ai_sdk: Any) -> None:
    assert ai_sdk["unknown"]["status"] == 404
    assert ai_sdk["unknown"]["error"]["code"] == "model_not_found"
    assert not ai_sdk["unknown"]["retryable"]
    assert ai_sdk["long"]["error"]["code"] == "context_length_exceeded"
