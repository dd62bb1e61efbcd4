"""Opens what a recorded study learned from."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.cache import Cache
from datasets.errors import InputError
from datasets.parallel import ParallelMap
from datasets.tools import Tools
from record import names
from record.recorded_study import RecordedStudy


def data_options(study: RecordedStudy, where: str | None) -> Any:
    """The options by which a study's problem is opened on this machine.

    Args:
        study: The study.
        where: Where its data are here; None: where they were for the study.

    Raises:
        InputError: If they are a file that is not there, or the study has none.
    """
    found = study.definition
    options = study.data_options(found.data_options)
    if found.data_file is None:
        if where is not None:
            raise InputError(f"{study.name} learned from no file: --data {where} is of no use")
        return options
    if where is not None:
        options = replace(options, **{found.data_file: where})
    file = getattr(options, found.data_file)
    if file is not None and Path(file).suffix and not Path(file).exists():
        raise InputError(
            f"the data of {study.name} are not at {file}: give their path with --data"
        )
    return options


def problem_of(
    study: RecordedStudy,
    data_dir: Path,
    where: str | None,
    parallel: ParallelMap = map,
    notify: Callable[[str], None] = lambda _: None,
) -> Any:
    """The problem that a study's options open on this machine; it may be another one by now.

    Args:
        study: The study.
        data_dir: Folder of prepared data.
        where: See `data_options`.
        parallel: Prepares the data.
        notify: Is told what was left out.

    Raises:
        InputError: If the data are not there.
    """
    tools = Tools(Cache(data_dir), parallel, notify)
    options = data_options(study, where)
    return study.definition.open(options, study.params[names.SEED], tools)


def opened(study: RecordedStudy, data_dir: Path, where: str | None) -> Any:
    """The very problem of a study; see `problem_of`.

    Raises:
        InputError: If the data are not there, or are others than those of the study.
    """
    problem = problem_of(study, data_dir, where)
    if problem.digest != (recorded := study.params[names.DIGEST]):
        raise InputError(
            f"these are not the data of {study.name}: their digest is {problem.digest}, recorded "
            f"is {recorded}; give the original with --data"
        )
    return problem
