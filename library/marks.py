"""How good a written answer is, from 0 to 1, by the metric that its task card names."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from loradex.library.cards import Metric
from loradex.library.judging import exact_match, normalise

Mark = Callable[[str, Sequence[str]], float]
"""What was written, and the accepted answers → the mark."""


def mark(metric: Metric, text: str, answers: Sequence[str]) -> float:
    """The mark of a text; of several accepted answers the one counts that it is most like."""
    return MARKS[metric](text, answers)


def _exact(text: str, answers: Sequence[str]) -> float:
    return float(exact_match(text, answers))


def _f1(text: str, answers: Sequence[str]) -> float:
    """Of the words in common, after normalising, as SQuAD counts them (Rajpurkar et al. 2016)."""
    given = Counter(normalise(text).split())
    return max((_overlap(given, Counter(normalise(answer).split())) for answer in answers), default=0.0)


def _overlap(given: Counter[str], wanted: Counter[str]) -> float:
    common = (given & wanted).total()
    return 2 * common / (given.total() + wanted.total()) if common else 0.0


def _rouge_l(text: str, answers: Sequence[str]) -> float:
    """F-measure of the longest common subsequence (Lin 2004), by rouge-score, without stemming."""
    from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415 - of the extra `evaluation`

    return float(RougeScorer(["rougeL"]).score_multi(list(answers), text)["rougeL"].fmeasure)


def _bleu(text: str, answers: Sequence[str]) -> float:
    """Of the sentence, smoothed, by sacrebleu (Post 2018)."""
    from sacrebleu import sentence_bleu  # noqa: PLC0415 - of the extra `evaluation`

    return min(1.0, float(sentence_bleu(text, list(answers)).score) / 100)


MARKS: Final[Mapping[Metric, Mark]] = {
    "accuracy": _exact,
    "exact_match": _exact,
    "f1": _f1,
    "rouge_l": _rouge_l,
    "bleu": _bleu,
}
