"""Definition of a study: a question, a model family and a data set; `engine.main` runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from analysis.packaged_model import PackagedModel
from analysis.scorecard import Scorecard
from datasets.tools import Tools
from engine.rungs import FIRST_RUNG
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.config import TrialConfig
from trainables.problem import Problem

DataOptions = TypeVar("DataOptions")


@dataclass(frozen=True)
class NoOptions:
    """Data options of a study that has none."""


def _untitled(options: Any) -> str:
    del options
    return ""


@dataclass(frozen=True)
class Study(Generic[DataOptions]):
    """Definition of a study.

    Attributes:
        key: Prefix of the study's default name.
        question: The question that the study answers; it is the first part of ``--help``.
        file: The ``__file__`` of the module that defines the study.
        config: Dataclass of the hyperparameters, whose annotations define the search space.
        group_by: Config field whose values are compared; each value has a baseline, which is
            trained first.
        objective: Metric to maximise; it must not depend on any searched field.
        open: Opens the data, given the data options, the study's seed and tools; returns the
            problem that the trials learn from.
        scorecard: Scores trials on the test split and presents the results. None if the study has
            no test split; it then ends with its search and finals.
        data_options: Dataclass of the options that select the data.
        data_title: Returns a short name of the data for the study's default name; may be empty.
        data_file: Name of the data option that takes a path or address; None if there is none.
        presets: Preset name -> function from a value of `group_by` to the fields that it sets.
        grids: Preset name -> the values of some fields, by field, as if they had been given on the
            command line; they count with ``--sampler grid`` only, which tries all combinations.
        baseline: Name of the preset used as the baseline; None to use the default configuration.
        first_rung: Fraction of a trial's epochs before which none is stopped early, above 0 and
            at most 1.
        finalists: Number of best configurations that are trained again, besides the default one,
            unless ``--finalists`` says otherwise.
        seeds: Number of times that each finalist is trained again, unless ``--seeds`` says
            otherwise.
        spreads: Whether trials spread work over `trainables.problem.Context.parallel`, so that
            they may have workers.
        smoke: Values of the data options for ``--smoke``.
        smoke_config: Values of config fields for ``--smoke``, as if they had been given on the
            command line; two epochs unless said otherwise.
        package: Builds the model to register from the recorded study, the trial, its weights and
            the problem. None to register no model.
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
    grids: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    baseline: str | None = None
    first_rung: float = FIRST_RUNG
    finalists: int = 5
    seeds: int = 5
    spreads: bool = False
    smoke: Mapping[str, Any] = field(default_factory=dict)
    smoke_config: Mapping[str, Sequence[Any]] = field(default_factory=lambda: {"epochs": (2,)})
    package: Callable[[RecordedStudy, Trial, dict[str, Any], Any], PackagedModel] | None = None
