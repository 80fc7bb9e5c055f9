"""A method written for a request takes the request's own arguments, and says what it does not take."""

import inspect

import pytest

from loradex.errors import InvalidArgumentError
from loradex.service.client.client import Client
from loradex.service.client.request import Request
from loradex.service.client.signatures import Ask, takes


class Asker:
    @takes(Ask)
    def ask(self, request: Request, *, timeout: float | None = 60.0) -> tuple[Request, float | None]:
        """Ask."""
        return request, timeout


def test_a_method_takes_the_arguments_of_a_request_and_its_own() -> None:
    assert Asker().ask("why", k=3) == (Request("why", k=3), 60.0)
    assert Asker().ask(prompt="why", timeout=None) == (Request("why"), None)


def test_what_it_does_not_take_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="did you mean method"):
        Asker().ask("why", metod="cat")  # type: ignore[call-arg]
    with pytest.raises(InvalidArgumentError, match="did you mean timeout"):
        Asker().ask("why", time_out=3)  # type: ignore[call-arg]
    for given, named in ((("why", ["yes", "no"]), {}), (("why",), {"prompt": "why"})):
        with pytest.raises(InvalidArgumentError, match="only the prompt"):
            Asker().ask(*given, **named)  # type: ignore[arg-type]


def test_signatures_show_every_argument_by_name() -> None:
    for method, more in ((Client.ask, "timeout"), (Client.enqueue, "connection")):
        parameters = inspect.signature(method).parameters
        assert {"sampling_top_p", "metadata", more} <= parameters.keys()
        by_name = {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
        assert parameters.keys() - by_name == {"prompt"}
        assert parameters["n"].default is None
