"""Contract tests that each implementation of a log inherits."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from happened import at, began, ended, placed, proposed, report, reported, story

from record.events import Reported
from record.log import Log
from record.trial import Report

Open = Callable[[], Log]


class LogContract(ABC):
    """Tests of a log; a subclass defines how to open one in a folder."""

    @abstractmethod
    def opener(self, folder: Path) -> Open:
        """Returns a function that opens the log in a folder anew at each call, as a new process
        would."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Open:
        return self.opener(tmp_path)

    def test_a_log_that_was_never_written_has_no_events(self, opened: Open) -> None:
        assert list(opened().read()) == []

    def test_what_is_appended_is_read_again(self, opened: Open) -> None:
        log, events = opened(), story()
        groups = [events[:1], events[1:4], *([event] for event in events[4:])]
        for place, group in enumerate(groups):
            log.append(group)
            there = [event for group in groups[: place + 1] for event in group]
            assert list(opened().read()) == there
        assert list(log.read()) == events

    @pytest.mark.parametrize("is_read_first", [True, False])
    def test_a_log_goes_on_where_an_earlier_process_left_it(
        self, opened: Open, is_read_first: bool
    ) -> None:
        events = story()
        for event in events:
            log = opened()
            if is_read_first:
                list(log.read())
            log.append([event])
        assert list(opened().read()) == events

    def test_what_is_read_is_equal_to_the_last_digit(self, opened: Open) -> None:
        config = {
            "tiny": 5e-324,
            "third": 1 / 3,
            "whole": 2**63 + 1,
            "one": 1.0,
            "yes": True,
            "none": None,
            "text": "Ångström\n\u2028",
            "sizes": (1, (2.5, "x")),
            "of": {"a": date(2026, 11, 26), "b": at(0.1)},
        }
        event = proposed(1, **config)
        opened().append([began(), proposed(0), event])
        *_, found = opened().read()
        assert found == event
        assert repr(found) == repr(event), "1 is not 1.0, and True is not 1"

    def test_lists_are_read_as_tuples(self, opened: Open) -> None:
        opened().append([proposed(0, sizes=[1, [2]])])
        (found,) = opened().read()
        assert found == proposed(0, sizes=(1, (2,)))

    def test_epochs_may_have_different_metrics(self, opened: Open) -> None:
        event = Reported(0, (report(1, loss=1.0), report(2), Report(3, 5, 0.5, {})))
        opened().append([event])
        assert list(opened().read()) == [event]

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("where", ["config", "metric", "memory"])
    def test_what_cannot_be_written_exactly_is_refused_and_leaves_the_log_as_it_was(
        self, opened: Open, value: float, where: str
    ) -> None:
        log = opened()
        log.append([began()])
        event = {
            "config": proposed(0, rate=value),
            "metric": reported(0, 1, r2=value),
            "memory": Reported(0, (Report(1, 0, value, {}),)),
        }[where]
        with pytest.raises(ValueError, match=f"is {value}: expected a finite number"):
            log.append([proposed(0), event])
        log.append([proposed(0), placed(0)])
        assert list(opened().read()) == [began(), proposed(0), placed(0)]

    @pytest.mark.parametrize("value", [{1: 2}, {"$date": "x"}, {3, 4}, b"x", object()])
    def test_what_is_not_plain_is_refused(self, opened: Open, value: object) -> None:
        with pytest.raises(ValueError, match=r"config\.odd"):
            opened().append([proposed(0, odd=value)])

    def test_a_log_that_was_read_while_it_grew_goes_on(self, opened: Open) -> None:
        log = opened()
        log.append([began(), proposed(0)])
        reading = log.read()
        log.append([placed(0)])
        assert next(reading) == began()
        log.append([ended(0, "failed")])
        assert list(opened().read()) == [began(), proposed(0), placed(0), ended(0, "failed")]
