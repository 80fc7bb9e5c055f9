"""Which defaults are changed, for what is beyond noise."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.evaluation.test_summary import cell

from loradex.evaluation.cells import Cell
from loradex.evaluation.paired import compare
from loradex.evaluation.plan import IN_DOMAIN, OOD, SEMI_OOD, Options
from loradex.evaluation.tuning import ROUNDS, Trial, tune

START = Options(k=32, top_p=0.9, temperature=0.1)
ROWS = 60


class Library:
    """Six tasks of two families; how often they are answered right is told by the options.

    The same rows are easy under all options, as they are for a model.
    """

    def __init__(
        self, *, gain_of_k: float = 0.0, gain_of_top_p: float = 0.0, calibrated: float = 0.0
    ) -> None:
        self.gains = gain_of_k, gain_of_top_p, calibrated
        self.asked: list[Options] = []

    def __call__(self, options: Sequence[Options]) -> list[Cell]:
        self.asked += options
        return [self.cell(one, f"task{task}") for one in options for task in range(6)]

    def cell(self, options: Options, task: str) -> Cell:
        hardness = np.random.default_rng(list(task.encode())).random(ROWS)
        share = 0.5 + self.gains[0] * (options.k == 64) + self.gains[1] * (options.top_p == 1.0)
        marks = [
            "".join("1" if one < most else "0" for one in hardness) for most in (share, share + self.gains[2])
        ]
        family = "even" if int(task[-1]) % 2 == 0 else "odd"
        return replace(cell("cat", task, marks[0], family), calibrated=marks[1], options=options.given())


def adopted(rounds: Sequence[Sequence[Trial]]) -> list[tuple[str, object]]:
    return [(trial.name, trial.value) for trials in rounds for trial in trials if trial.adopted]


def test_where_nothing_is_better_nothing_changes() -> None:
    rounds = list(tune(Library(), START, "none"))
    assert len(rounds) == 1
    assert adopted(rounds) == []
    assert all(trial.points.value == 0 and trial.p == 1 for trial in rounds[0])
    assert {trial.name for trial in rounds[0]} == {"k", "top_p", "temperature", "choice_prior"}


def test_what_is_better_beyond_noise_is_adopted_the_best_first() -> None:
    library = Library(gain_of_k=0.2, gain_of_top_p=0.1)
    rounds = list(tune(library, START, "none"))
    assert adopted(rounds) == [("k", 64), ("top_p", 1.0)]
    assert len(rounds) == ROUNDS
    assert library.asked[-1].k == 64
    assert library.asked[-1].top_p == 1.0


def test_choices_are_judged_by_history_where_calibration_gains() -> None:
    assert adopted(list(tune(Library(calibrated=0.2), START, "none"))) == [("choice_prior", "history")]
    assert adopted(list(tune(Library(calibrated=0.2), START, "history"))) == []


class Disagreeing(Library):
    """k 64 gains where choices are judged as they are, and loses where they are calibrated; k 16 the other way."""

    def cell(self, options: Options, task: str) -> Cell:
        gains = {64: (0.2, -0.2), 16: (-0.2, 0.2)}.get(options.k or 0, (0.0, 0.0))
        raw, calibrated = (
            Library(gain_of_top_p=gain).cell(replace(options, top_p=1.0), task).right for gain in gains
        )
        return replace(super().cell(options, task), right=raw, calibrated=calibrated)


@pytest.mark.parametrize(("prior", "k"), [("none", 64), ("history", 16)])
def test_options_are_judged_by_the_marks_that_the_prior_in_force_makes(prior: str, k: int) -> None:
    rounds = list(tune(Disagreeing(), START, prior))
    assert adopted(rounds)[0] == ("k", k)
    assert all(trial.name != "choice_prior" for trials in rounds for trial in trials if prior == "history")


def test_once_history_is_adopted_the_next_rounds_are_judged_by_it() -> None:
    class Both(Library):
        """Calibration gains most; of k 64 what is gained is there only while choices are not calibrated."""

        def cell(self, options: Options, task: str) -> Cell:
            bare = Library().cell(options, task).right
            gained, most = (
                Library(gain_of_k=gain).cell(replace(options, k=64), task).right for gain in (0.1, 0.3)
            )
            right = gained if options.k == 64 else bare
            return replace(super().cell(options, task), right=right, calibrated=most)

    assert adopted(list(tune(Both(), START, "none"))) == [("choice_prior", "history")]


def test_what_is_worse_is_never_adopted() -> None:
    assert adopted(list(tune(Library(gain_of_k=-0.3, calibrated=-0.3), START, "none"))) == []


def test_more_settings_of_the_same_rows_are_no_more_rows() -> None:
    """Asked in three settings with like outcomes, a task says as little as asked in one."""
    one, other = ("1101001110100101", "0101101010100001")
    told = []
    for settings in ((IN_DOMAIN,), (IN_DOMAIN, SEMI_OOD, OOD)):
        sides = [
            {f"{setting} rte": cell(method, "rte", right, setting=setting) for setting in settings}
            for method, right in (("base", other), ("cat", one))
        ]
        points, p = compare(sides[0], sides[1])
        told.append((points.low, points.high, p))
    assert told[0] == pytest.approx(told[1])


@pytest.mark.parametrize("settings", [(IN_DOMAIN,), (IN_DOMAIN, SEMI_OOD, OOD)])
def test_one_row_that_goes_the_other_way_says_nothing_however_often_it_is_asked(
    settings: Sequence[str],
) -> None:
    sides = [
        {f"{setting} rte": cell(method, "rte", right, setting=setting) for setting in settings}
        for method, right in (("base", "0" * 16), ("cat", "1" + "0" * 15))
    ]
    points, p = compare(sides[0], sides[1])
    assert (points.value, p) == (100 / 16, 1)
