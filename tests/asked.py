"""What tests ask the API, and how they read what it refuses."""

from collections.abc import Callable
from typing import Any

import httpx2

Ask = Callable[..., httpx2.Response]
CHAT = "/v1/chat/completions"
QUESTION = {"model": "loradex", "messages": [{"role": "user", "content": "Is it late?"}], "max_tokens": 1}


def error_of(response: httpx2.Response, status: int) -> dict[str, Any]:
    """The error, in the envelope that OpenAI's clients read."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert response.headers["x-request-id"]
    return error
