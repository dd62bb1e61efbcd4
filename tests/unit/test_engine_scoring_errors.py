"""What becomes of an error of a scorecard: the trial is not scored, or the session ends."""

from pathlib import Path
from typing import Any

import pytest
from fake_scorecard import FakeScorecard

from datasets.errors import InputError
from engine import scoring
from engine.on_ray.post_mortem import bad_input
from engine.scoring import ToScore, scored
from record.outcomes import Outcomes


def score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: Any) -> Outcomes | str:
    """Scores a trial with a scorecard that raises or returns this."""
    monkeypatch.setattr(scoring, "_model", lambda asked: {})

    class Card(FakeScorecard):
        def outcomes(self, problem: Any, trial: Any, model: Any) -> Any:
            if isinstance(made, BaseException):
                raise made
            return made

    asked: Any = ToScore(None, str(tmp_path))  # pyright: ignore[reportArgumentType]
    return scored(asked, Card(), None, 1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("place"), "KeyError: 'place'"),
        (RuntimeError("no"), "RuntimeError: no"),
        (ValueError("expected errors from 0 on"), "expected errors from 0 on"),
    ],
)
def test_an_error_of_a_scorecard_is_its_trials(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert score(monkeypatch, tmp_path, error) == said


@pytest.mark.parametrize("error", [OSError("the storage is away"), MemoryError()])
def test_an_error_of_the_machine_is_not(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(type(error)):
        score(monkeypatch, tmp_path, error)


def test_a_scorecard_that_gives_something_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = score(monkeypatch, tmp_path, None)
    assert said == "its scorecard gave a NoneType: expected Outcomes"


def test_what_the_driver_refuses_is_found_under_what_tune_makes_of_it() -> None:
    try:
        try:
            raise InputError("trial 0 reports no validation/accuracy")
        except InputError:
            raise RuntimeError("a traceback") from None
    except RuntimeError as error:
        found = bad_input(error)
    assert isinstance(found, InputError)
    assert bad_input(RuntimeError("another")) is None
