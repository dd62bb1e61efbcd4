"""A study: a question, a model family, a data set; see `engine.main`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from analysis.served import Served
from datasets.cache import Cache
from datasets.parallel import ParallelMap
from record.folder import StudyFolder
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.config import FitConfig
from trainables.stepper import TaskFactory

DataOptions = TypeVar("DataOptions")


@dataclass(frozen=True)
class StudyData:
    """A study's data, ready for its trials.

    Attributes:
        make_task: See `TaskFactory`.
        digest: Fingerprint of everything that a fit sees.
        facts: What else to record of them, such as the unit and the sizes of the split.
        decided: Config fields that the data leave no choice about -> their only values.
        check: Raises InputError for a configuration that the data cannot train; None: they can
            train any.
    """

    make_task: TaskFactory
    digest: str
    facts: Mapping[str, Any]
    decided: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    check: Callable[[Any], None] | None = None


@dataclass(frozen=True)
class Study(Generic[DataOptions]):
    """One question.

    Attributes:
        key: Begins the default name of its studies.
        question: What it asks; the first lines of ``--help``.
        config: The hyperparameters and, by their annotations, the search space.
        by: The field whose values are compared; each has a baseline, which is tried first.
        objective: The metric that is maximised; no searched field can redefine it.
        data_options: Dataclass of the options that say what to learn from.
        open_data: Makes the data out of the options, the seed, the cache folder, a parallel map
            and where to say what was left out.
        data_title: A short name of the data, for the default name of the study.
        presets: Name -> value of `by` -> fields of a named configuration.
        baseline: Name of the preset that is the baseline; None: the default configuration is.
        data_file: Which of the data options may be a file.
        smoke: Data options of the tiny study.
        analyses: Run at the end, with the study's folder, MLflow's tracking URI, the cache folder
            and the folder for figures and tables; each returns what to print.
        serve: Makes of a trial and its weights the model that is registered, with the study and
            the cache folder; None: none is.
    """

    key: str
    question: str
    config: type[FitConfig]
    by: str
    objective: str
    data_options: type[DataOptions]
    open_data: Callable[[DataOptions, int, Cache, ParallelMap, Callable[[str], None]], StudyData]
    data_title: Callable[[DataOptions], str]
    presets: Mapping[str, Callable[[Any], Mapping[str, Any]]]
    smoke: Mapping[str, Any]
    analyses: Sequence[Callable[[StudyFolder, str, Path, Path], str]]
    baseline: str | None = None
    data_file: str = "dataset"
    serve: Callable[[RecordedStudy, Trial, dict[str, Any], Path], Served] | None = None
