"""Opens the data of a recorded study."""

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
    """Returns the data options of a study, with the path of its data file on this machine.

    Args:
        study: The study.
        where: Path of the study's data file here; None for the recorded path.

    Raises:
        InputError: If the file does not exist, or `where` is given for a study without a data
            file.
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
    """Opens a study's problem on this machine, without checking that its data are unchanged.

    Args:
        study: The study.
        data_dir: Folder of prepared data.
        where: Path of the study's data file here; None for the recorded path.
        parallel: Maps a function over the pieces of data to prepare.
        notify: Receives remarks on the data, such as how much was left out.

    Raises:
        InputError: If the data do not exist.
    """
    tools = Tools(Cache(data_dir), parallel, notify)
    options = data_options(study, where)
    return study.definition.open(options, study.params[names.SEED], tools)


def opened(study: RecordedStudy, data_dir: Path, where: str | None) -> Any:
    """Opens a study's problem and checks by its digest that the data are those of the study.

    Args:
        study: The study.
        data_dir: Folder of prepared data.
        where: Path of the study's data file here; None for the recorded path.

    Raises:
        InputError: If the data do not exist, or are not those of the study.
    """
    problem = problem_of(study, data_dir, where)
    if problem.digest != (recorded := study.params[names.DIGEST]):
        raise InputError(
            f"these are not the data of {study.name}: their digest is {problem.digest}, recorded "
            f"is {recorded}; give the original with --data"
        )
    return problem
