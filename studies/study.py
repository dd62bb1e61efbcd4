"""A study: a question, a model family, a data set; and `main`, which asks it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from analysis.served import Served
from datasets.addresses import shown
from datasets.cache import Cache
from datasets.errors import InputError, described
from datasets.parallel import ParallelMap
from datasets.terminal import replace_what_cannot_be_shown
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


def main(study: Study[Any], argv: Sequence[str] | None = None) -> int:
    """Asks a study from the command line.

    Returns:
        The exit code: 0; 1 if no trial finished, or not all of it could be recorded; 2 for bad
        input, or a machine that cannot go on; 130 after Ctrl-C.
    """
    from studies.command_line import parse
    from studies.last_words import last_words
    from studies.session import Session

    arguments = sys.argv[1:] if argv is None else list(argv)
    replace_what_cannot_be_shown()
    try:
        typed = parse(arguments, study.question, study.data_options, study.config, study.data_file)
        console = Console(soft_wrap=True, highlight=False, emoji=False)
        with last_words():
            return Session(study, typed, arguments, console).run()
    except InputError as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: {described(error)}; once the cause is gone, the same command goes on",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
