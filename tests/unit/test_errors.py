"""The codes of errors are public: programs in any language tell them apart by these."""

import re
from collections.abc import Iterator

from loradex.errors import BY_SQLSTATE, JobFailedError, LoradexError, PromptTooLongError


def kinds(root: type[LoradexError] = LoradexError) -> Iterator[type[LoradexError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def test_every_error_has_a_code_of_its_own() -> None:
    found = [kind for kind in kinds() if kind.__module__ == "loradex.errors"]

    assert len(found) > 25
    assert all("code" in vars(kind) for kind in found)
    assert len({kind.code for kind in found}) == len(found)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code) for kind in found)


def test_every_sqlstate_stands_for_one_error() -> None:
    stated = [kind for kind in kinds() if "sqlstate" in vars(kind) and kind.sqlstate is not None]

    assert sorted(BY_SQLSTATE) == sorted(str(kind.sqlstate) for kind in stated)


def test_a_failed_job_says_why_in_its_own_code() -> None:
    assert JobFailedError(PromptTooLongError.code, "shorten it").code == "prompt_too_long"
    assert JobFailedError.code == "job_failed"
