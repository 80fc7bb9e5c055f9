"""Whatever is printed, nothing that drives a terminal comes out."""

import json
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loradex import terminal
from loradex.errors import InvalidArgumentError
from loradex.service import cli

Said = pytest.CaptureFixture[str]
HOSTILE = "a\x1b[2Jb\x1b]0;title\x07c\x9bd\u202ee\u2066f\rg\x08h\u200bi\U000e0041j"
any_text = st.text(st.characters() | st.sampled_from(HOSTILE))


def dangerous(text: str) -> set[str]:
    allowed = {"\n", "\t", *terminal.JOINERS}
    return {one for one in text if unicodedata.category(one).startswith("C") and one not in allowed}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_text)
def test_nothing_printed_drives_a_terminal(capsys: Said, text: str) -> None:
    terminal.say(text)
    terminal.complain(text)
    terminal.table(("name", "value"), [(text, 1)], title=text)
    terminal.bars({text: 0.5}, title=text)
    terminal.console().print(text, markup=False)
    terminal.as_json({"text": text, text: [text]})
    said = capsys.readouterr()
    assert dangerous(said.out) == set()
    assert dangerous(said.err) == set()


@given(any_text)
def test_printable_text_stays_as_it_is(text: str) -> None:
    if text.isprintable():
        assert terminal.safe(text) == text
    told = "line\nand\ttab 日本語 क\u200dष 👩\u200d🔬"
    assert terminal.safe(told) == told


def test_json_keeps_its_value(capsys: Said) -> None:
    terminal.as_json({"text": HOSTILE})
    assert json.loads(capsys.readouterr().out) == {"text": HOSTILE}


def test_an_error_is_escaped(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising() -> None:
        raise InvalidArgumentError(HOSTILE)

    monkeypatch.setattr("loradex.service.cli.stack.status", raising)
    assert cli.run(["status"]) == 2
    said = capsys.readouterr().err
    assert dangerous(said) == set()
    assert "\\x1b[2J" in said
    assert cli.run(["no\x1bsuch"]) == 2
    assert dangerous(capsys.readouterr().err) == set()
