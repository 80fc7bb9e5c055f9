"""Rows that come and go: each step begins what there is room for, reads on, and gives every text a token."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, product

import torch

from loradex.worker.engine.admission import Admission
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.engine.choose import LOGIT_TOKENS
from loradex.worker.engine.compose import Composer
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.invocation import invoked
from loradex.worker.engine.opening import Opening
from loradex.worker.engine.parts import Broken, Cohort, Part
from loradex.worker.engine.protocol import Event, Failed, Finished, Ticket, Usage, Wrote
from loradex.worker.engine.questions import Question, slices_by_length, twins
from loradex.worker.engine.ranking import Ranking
from loradex.worker.engine.results import NOT_FINITE, chosen, written
from loradex.worker.engine.room import Sizes, Tally
from loradex.worker.engine.rows import RowResult
from loradex.worker.engine.running import Running
from loradex.worker.engine.text import Text
from loradex.worker.engine.updates import UpdateSwitch
from loradex.worker.engine.writing import Writing
from loradex.worker.isolation import Failure

OPENING_EVERY = 4
"""However many choices there are, one pass in so many reads prompts of texts."""


@dataclass(frozen=True)
class Pace:
    """How many tokens are read between two looks around.

    Attributes:
        beside: While texts are written: each of them waits for as long.
        alone: While none is.
    """

    beside: int
    alone: int


class Stream:
    """All rows in hand: those that wait, those whose prompts or choices are read, and those that write.

    What breaks is computed again row by row, so that only the row at fault fails.

    Args:
        forward: The model.
        switch: Where the wrapped modules find the updates of the rows in hand.
        composer: Mixes adapters.
        bank: Where they are.
        text: The tokenizer.
        ends: Tokens that end a text.
        sizes: What rows take now: an adapter takes more once the bank has met a larger one.
        room: Bytes for all rows in hand.
        pace: How much is read at a time.
    """

    def __init__(
        self,
        forward: Forward,
        switch: UpdateSwitch,
        composer: Composer,
        bank: AdapterBank,
        text: Text,
        *,
        ends: frozenset[int],
        sizes: Callable[[], Sizes],
        room: int,
        pace: Pace,
    ) -> None:
        self._forward = forward
        self._switch = switch
        self._composer = composer
        self._bank = bank
        self._text = text
        self._ends = ends
        self._sizes = sizes
        self._pace = pace
        self._admission = Admission(room)
        self._rankings: deque[Part] = deque()
        self._openings: deque[Part] = deque()
        # Rows that the model reads with other frequencies are never beside others; nor is one that is computed alone.
        self._running = {which: Running(forward, switch) for which in product((False, True), (False, True))}
        self._turn = 0

    def add(self, question: Question) -> None:
        """Takes a row in hand."""
        self._admission.add(question)

    @torch.inference_mode()
    def abort(self, ticket: Ticket) -> None:
        """Lets a row go; nothing is heard of it any more."""
        for part in self._parts():
            if any(question.ticket == ticket for question in part.questions):
                part.unwanted.add(ticket)
        self._take_out(ticket)

    def _take_out(self, ticket: Ticket) -> None:
        """Of those that wait and those that write. Where that breaks, the others begin again without it."""
        self._admission.abort(ticket)
        for which, running in self._running.items():
            broken = None
            try:
                running.abort(ticket)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others must go on
                broken = Broken.of(error, self._forward.device)
            if broken is not None:
                self._running[which] = Running(self._forward, self._switch)
                self._admission.put_back(
                    [one.begun_again() for one in running.writings if one.question.ticket != ticket]
                )
                broken.release()

    def usage(self) -> Usage:
        """What is in hand now."""
        in_hand = list(self._in_hand())
        return Usage(
            running=len(in_hand),
            waits=self._admission.waits,
            used_bytes=Tally.of(self._sizes(), in_hand).bytes,
            room_bytes=self._admission.room,
        )

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """A short stretch of work, and what came of it.

        Raises:
            DeviceBrokenError: All rows are lost.
        """
        events: list[Event] = []
        try:
            events += self._begin()
            events += self._read_on()
            for which in self._running:
                events += self._write(which)
        finally:
            self._switch.current = None
        return events

    def _begin(self) -> list[Event]:
        """Begins the rows that there is room for."""
        if not len(self._admission):
            return []
        companies = self._admission.take(list(self._in_hand()), self._sizes(), self._bank.holds)
        return [event for some in companies for event in self._begin_together(some)]

    def _begin_together(self, taken: Sequence[Question]) -> list[Event]:
        """Composes the mixtures of rows that may share passes, and groups them by length."""
        groups = twins(sorted(taken, key=self._group))
        start = time.perf_counter()
        cohort = broken = None
        parts: list[Part] = []
        try:
            composition = self._composer.compose([some[0].row.recipe for some in groups])
            cohort = Cohort(composition, 1000 * (time.perf_counter() - start))
            parts += self._parts_of(cohort, groups)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must end as one recorded failure
            broken = Broken.of(error, self._forward.device)
        if broken is not None:
            del parts
            if cohort is not None:
                self._composer.give_back(cohort.composition)
            return self._again(taken, broken)
        for part in parts:
            (self._rankings if isinstance(part.work, Ranking) else self._openings).append(part)
            part.cohort.parts += 1
        return []

    def _parts_of(self, cohort: Cohort, groups: Sequence[Sequence[Question]]) -> Iterator[Part]:
        """Those of near length and one kind together, for groups of twins in the order of their composition."""
        first = 0
        for _, alike in groupby(groups, key=lambda some: self._group(some[0])[:-1]):
            rows = list(alike)
            slices = slices_by_length([one[0] for one in rows], self._tokens())
            if _has_passes_of_its_own(rows[0][0]):
                # They share nothing but the prompts' pass, and an answer would wait for the others'.
                slices = (slice(place, place + 1) for place in range(len(rows)))
            for some in slices:
                yield self._part(cohort, rows[some], slice(first + some.start, first + some.stop))
            first += len(rows)

    def _part(self, cohort: Cohort, groups: Sequence[Sequence[Question]], rows: slice) -> Part:
        """Groups of twins that are composed at these rows, as they begin."""
        composition = cohort.composition
        updates = composition.updates.rows(rows) if composition.updates is not None else None
        updates = invoked(updates, [some[0].ids for some in groups])
        reports = [
            report for report, some in zip(composition.reports[rows], groups, strict=True) for _ in some
        ]
        if groups[0][0].choices:
            ranking = Ranking(self._forward, self._switch, [some[0] for some in groups], updates)
            return Part(ranking, cohort, reports)
        return Part(Opening(self._forward, self._switch, groups, updates), cohort, reports)

    def _read_on(self) -> list[Event]:
        """Reads prompts and choices, for as many tokens as the texts that are written may wait for."""
        events: list[Event] = []
        tokens, read, nothing_written = self._tokens(), 0, not self._writes()
        while read < tokens and (part := self._next_part()) is not None:
            broken = None
            try:
                read += part.work.advance(tokens)
                done = self._answered(part) if part.work.done else None
            except Exception as error:  # noqa: BLE001 - as above
                broken = Broken.of(error, self._forward.device)
            if broken is not None:
                done = self._again(part.wanted(), broken)
            if done is not None:
                events += done
                self._put_away(part)
            else:
                # The next ones have their turn before it goes on.
                parts = self._rankings if part in self._rankings else self._openings
                parts.remove(part)
                parts.append(part)
            # Texts begin together, so that each step is for many; answers with choices are given out at once.
            if nothing_written and isinstance(part.work, Ranking):
                break
        return events

    def _next_part(self) -> Part | None:
        """What is read next: choices before texts, and a text from time to time; of each the urgent ones first."""
        for part in [part for part in self._parts() if not part.wanted()]:
            self._put_away(part)
        self._turn = (self._turn + 1) % OPENING_EVERY
        first, second = (self._rankings, self._openings)
        if self._turn == 0:
            first, second = second, first
        parts = first or second
        return next((part for part in parts if part.urgent), parts[0] if parts else None)

    def _put_away(self, part: Part) -> None:
        for parts in (self._rankings, self._openings):
            if part in parts:
                parts.remove(part)
        part.cohort.parts -= 1
        if not part.cohort.parts:
            self._composer.give_back(part.cohort.composition)

    def _answered(self, part: Part) -> list[Event]:
        """What comes of a part that is read: answers with choices, or rows that write from now on."""
        timings = {"merge": part.cohort.merged}
        if isinstance(part.work, Ranking):
            return [
                event
                for question, scored, report in zip(
                    part.questions, part.work.scored(), part.reports, strict=True
                )
                if question.ticket not in part.unwanted
                for event in self._ended(question, chosen(question, scored, report, timings))
            ]
        timings |= part.work.timings()
        writings = [
            None
            if question.ticket in part.unwanted
            else Writing(question, report, timings, self._ends, self._text.raw)
            for question, report in zip(part.questions, part.reports, strict=True)
        ]
        running = self._running[self._company(part.questions[0])]
        ended = part.work.join(running, writings)
        return self._told([writing for writing in writings if writing is not None], ended)

    def _write(self, which: tuple[bool, bool]) -> list[Event]:
        """One token more for each text."""
        running = self._running[which]
        writings = list(running.writings)
        if not writings:
            return []
        broken = None
        try:
            ended = running.step()
        except Exception as error:  # noqa: BLE001 - as above
            broken = Broken.of(error, self._forward.device)
        if broken is not None:
            self._running[which] = Running(self._forward, self._switch)
            return self._again([writing.begun_again() for writing in writings], broken)
        return self._told(writings, ended)

    def _told(self, writings: Sequence[Writing], ended: Sequence[Writing]) -> list[Event]:
        """The pieces of text that are certain now, and the answers of the rows that ended."""
        events: list[Event] = [
            Wrote(writing.question.ticket, piece)
            for writing in writings
            if writing.finite and (piece := writing.piece())
        ]
        for writing in ended:
            events += self._ended(writing.begun_again(), written(writing, self._text.token))
        return events

    def _ended(self, question: Question, result: RowResult | Failure) -> list[Event]:
        """An answer. One that is not finite is computed again alone: what overflowed may be another row's."""
        if result is NOT_FINITE and not question.alone:
            self._admission.put_back([replace(question, alone=True)])
            return []
        if isinstance(result, Failure):
            return [Failed(question.ticket, result)]
        said = [Wrote(question.ticket, result.text)] if result.choice is not None else []
        return [*said, Finished(question.ticket, result)]

    def _again(self, questions: Sequence[Question], broken: Broken) -> list[Event]:
        """Computes rows again after something broke: in smaller company where memory ran out, else each alone."""
        broken.release()
        for question in questions:
            # Some may have gone on before it broke.
            self._take_out(question.ticket)
        if len(questions) == 1 and (questions[0].only or not broken.out_of_memory):
            return [Failed(questions[0].ticket, broken.failure)]
        if len(questions) == 1:
            self._admission.put_back([replace(questions[0], only=True)])
        elif broken.out_of_memory:
            held = {one.ticket: bool(one.choices) for one in (*questions, *self._in_hand())}
            for kind in {bool(question.choices) for question in questions}:
                self._admission.out_of_memory(kind, sum(one is kind for one in held.values()))
            self._admission.put_back(questions)
        else:
            self._admission.put_back([replace(question, alone=True) for question in questions])
        return []

    def _parts(self) -> Iterator[Part]:
        return chain(self._rankings, self._openings)

    def _in_hand(self) -> Iterator[Question]:
        """The rows that are computed."""
        for part in self._parts():
            yield from part.wanted()
        for running in self._running.values():
            yield from (writing.question for writing in running.writings)

    def _writes(self) -> bool:
        return any(running.writings for running in self._running.values())

    def _tokens(self) -> int:
        return self._pace.beside if self._writes() else self._pace.alone

    def _company(self, question: Question) -> tuple[bool, bool]:
        return self._is_long(question), question.alone

    def _is_long(self, question: Question) -> bool:
        return self._forward.architecture.is_long(len(question.ids))

    def _group(self, question: Question) -> tuple[bool, bool, bool, bool, int]:
        """By what rows are told apart before they share a pass, and their length."""
        return (
            not question.choices,
            self._is_long(question),
            # Choices are answered when the last of their part is; texts begin together.
            not (question.choices and question.row.urgent),
            _has_passes_of_its_own(question),
            len(question.ids),
        )


def _has_passes_of_its_own(question: Question) -> bool:
    """Whether its choices are more than is read at once."""
    return sum(len(choice) - 1 for choice in question.choices) > LOGIT_TOKENS
