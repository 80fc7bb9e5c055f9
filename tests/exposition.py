"""What a process tells Prometheus, as numbers."""

import json
import urllib.request
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from tests.fix_answering import Stack


class Exposition(NamedTuple):
    """One reading: its text, and each sample's value by name and labels."""

    text: str
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def of(cls, text: str) -> "Exposition":
        return cls(
            text,
            {
                (one.name, frozenset(one.labels.items())): one.value
                for family in text_string_to_metric_families(text)
                for one in family.samples
            },
        )

    @classmethod
    def at(cls, address: str) -> "Exposition":
        with urllib.request.urlopen(address, timeout=30) as response:
            return cls.of(response.read().decode())

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """The sample's value; 0 where there is none yet, as a counter begins."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def labels(self, name: str, label: str) -> set[str]:
        """All values of a label."""
        return {dict(pairs)[label] for one, pairs in self.samples if one == name}


def of_worker(stack: Stack) -> Exposition:
    """What the stack's worker tells now."""
    for line in stack.workers[0].log.read_text(encoding="utf-8").splitlines():
        if "metrics.listening" in line:
            return Exposition.at(json.loads(line)["address"])
    raise AssertionError("the worker does not say where its metrics are")
