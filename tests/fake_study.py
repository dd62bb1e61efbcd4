"""A study for tests of the engine: trials take milliseconds and end as they are configured to."""

from dataclasses import dataclass
from typing import Any

from fake_task import FakeConfig, FakeTask

from engine.study import Study
from trainables.fit import SupervisedProblem


@dataclass(frozen=True)
class FakeOptions:
    """Data options of the fake study."""

    dataset: str = "nothing"
    """Name of the data set, which is part of the digest."""


def open_fake(options: FakeOptions, *arguments: Any) -> SupervisedProblem:
    del arguments
    return SupervisedProblem(FakeTask, f"digest of {options.dataset}", facts={"train": 1})


FAKE = Study(
    key="fake",
    file=__file__,
    question="Does the engine tell what happened?",
    config=FakeConfig,
    group_by="ending",
    objective="validation/score",
    data_options=FakeOptions,
    open=open_fake,
    data_title=lambda options: options.dataset,
    presets={"named": lambda ending: {"ending": ending, "level": 0.25}},
    smoke={"dataset": "little"},
)
