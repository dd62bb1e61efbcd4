"""A study: a question, a model family, a data set; see `engine.main`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from analysis.packaged_model import PackagedModel
from analysis.scorecard import Scorecard
from datasets.tools import Tools
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.config import TrialConfig
from trainables.problem import Problem

DataOptions = TypeVar("DataOptions")


@dataclass(frozen=True)
class NoOptions:
    """There is nothing to choose in what is learned from."""


def _untitled(options: Any) -> str:
    del options
    return ""


@dataclass(frozen=True)
class Study(Generic[DataOptions]):
    """One question.

    Attributes:
        key: Begins the default name of its studies.
        question: What it asks; the first lines of ``--help``.
        file: The file that defines it: its ``__file__``.
        config: The hyperparameters and, by their annotations, the search space.
        group_by: The field whose values are compared; each has a baseline, which is tried first.
        objective: The metric that is maximised; no searched field can redefine it.
        open: Opens what is learned from, given the data options, the study's seed, and tools.
        scorecard: Scores trials on the test split, and shows them; None: the study has no test
            split, and ends with its search and its finals.
        data_options: Dataclass of the options that say what to learn from.
        data_title: A short name of the data, for the default name of the study; empty: none.
        data_file: Which of the data options may be a file; None: none.
        presets: Name -> value of `group_by` -> fields of a named configuration.
        baseline: Name of the preset that is the baseline; None: the default configuration is.
        smoke: Data options of the tiny study.
        package: Makes of a trial and its weights the model that is registered, given the study,
            the trial, its weights and the problem; None: none is.
    """

    key: str
    question: str
    file: str
    config: type[TrialConfig]
    group_by: str
    objective: str
    open: Callable[[DataOptions, int, Tools], Problem[Any]]
    scorecard: Scorecard | None = None
    data_options: type[DataOptions] = NoOptions  # pyright: ignore[reportAssignmentType]
    data_title: Callable[[DataOptions], str] = _untitled
    data_file: str | None = None
    presets: Mapping[str, Callable[[Any], Mapping[str, Any]]] = field(default_factory=dict)
    baseline: str | None = None
    smoke: Mapping[str, Any] = field(default_factory=dict)
    package: Callable[[RecordedStudy, Trial, dict[str, Any], Any], PackagedModel] | None = None
