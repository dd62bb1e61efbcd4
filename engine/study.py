"""A study: a question, a model family, a data set; see `engine.main`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from analysis.served import Served
from datasets.cache import Cache
from datasets.parallel import ParallelMap
from record.folder import StudyFolder
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.config import TrialConfig
from trainables.problem import Problem

DataOptions = TypeVar("DataOptions")


@dataclass(frozen=True)
class Tools:
    """What opening a problem may use.

    Attributes:
        cache: Keeps what was prepared once.
        parallel: Maps a function over items, on all cores or machines, with a progress bar.
        say: Prints a line, such as what was left out.
    """

    cache: Cache
    parallel: ParallelMap = map
    say: Callable[[str], None] = print


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
        open: Opens what is learned from, given those options, the study's seed, and tools.
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
    config: type[TrialConfig]
    by: str
    objective: str
    data_options: type[DataOptions]
    open: Callable[[DataOptions, int, Tools], Problem[Any]]
    data_title: Callable[[DataOptions], str]
    presets: Mapping[str, Callable[[Any], Mapping[str, Any]]]
    smoke: Mapping[str, Any]
    analyses: Sequence[Callable[[StudyFolder, str, Path, Path], str]]
    baseline: str | None = None
    data_file: str = "dataset"
    serve: Callable[[RecordedStudy, Trial, dict[str, Any], Path], Served] | None = None
