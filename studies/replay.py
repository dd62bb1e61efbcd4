"""Trains one recorded trial again, and says whether code, data and numbers are the same.

    python studies/replay.py RUN_ID
    python studies/replay.py NAME/NUMBER

All that it takes was recorded: the trial's configuration and epochs, and what its study learned
from. It is trained without Ray, on the kind of device and with as many threads as
it was, up to its last recorded epoch, wherever it ended. Nothing is recorded.

On the CPU every number has to be the same to the last bit. A GPU adds in no fixed order, and what
that changes in the last digits grows until it is as much as another seed changes: where a GPU
trained, then or now, each metric has to be within 20 % of what was recorded, in the median of its
epochs. That finds other data, another configuration, broken code, and nothing small.

Exit code: 0 if the numbers are the same in this sense, 1 if they are not, or if the data are
others, which then cannot be compared; 2 for bad input; 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from analysis import command_line
from analysis.opening import data_options, problem_of
from datasets.addresses import shown
from datasets.errors import InputError
from datasets.terminal import replace_what_cannot_be_shown
from engine.display import with_progress
from engine.provenance import UNKNOWN, of_this_code
from engine.replay_comparison import TOLERANCE, Epochs, Numbers
from record import names, placements, values
from record.definition import Definition, defined_in
from record.folder import StudyFolder
from record.mlflow_runs import number_of
from record.mlflow_tracker import not_recorded
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.tracker import NotRecorded
from record.tracking_store import TrackingStore
from record.trial import Trial
from trainables.config import TrialConfig
from trainables.device import circumstances, pick_device
from trainables.problem import Problem
from trainables.trial_loop import Failed, OutOfMemory, TrialLoop
from trainables.trial_spec import TrialSpec

NO_METRIC = "train/seconds"
"""A metric of every epoch, and no result of the fit."""

SHOWN = 10
"""Characters of a commit."""

ELSEWHERE = "a GPU trained it, the CPU trains it again: dropout and noise draw other numbers there"

HELP = (
    "On the CPU numbers are compared bit for bit. Where a GPU trained, then or now, each metric "
    f"has to be within {TOLERANCE:.0%} in the median of its epochs, as a GPU adds in no fixed "
    "order."
)


def replay(
    named: str,
    runs_dir: Path,
    data_dir: Path,
    where: str | None,
    console: Console,
    define: Callable[[], Definition] | None = None,
) -> Numbers | None:
    """Trains a recorded trial again.

    Args:
        named: MLflow's id of its run, or name of the study and number of the trial:
            ``gnn-gfn2-mu/14``.
        runs_dir: Where the study was recorded.
        data_dir: Folder of prepared data.
        where: The file of the study's data on this machine; None: where it was for the study.
        console: Told of code and data first, then of the progress.
        define: Gives the ``STUDY``; None: it is looked for, see `record.definition`.

    Returns:
        None if the data are not those that it was trained on.

    Raises:
        InputError: If the trial, or what it learned from, is not to be had.
    """
    recorded, trial, epochs = _found(named, runs_dir, define)
    config = _config(recorded.definition, trial)
    data_options(recorded, where)  # if the data are not there, nothing else is said
    device = _device(trial)
    console.print(
        f"{recorded.name}/{trial.number}, {trial.title}: {trial.status}, {trial.epoch} of "
        f"{config.epochs} epochs recorded\n\n{_code(trial, recorded.definition.file)}"
    )
    digest = recorded.params[names.DIGEST]
    parallel = with_progress(map, console)
    problem = problem_of(recorded, data_dir, where, parallel, console.print)
    console.print(_compared("data", digest, problem.digest, "digest "))
    if problem.digest != digest:
        return None
    console.print(_machine(trial, device))
    spec = TrialSpec(trial.number, config, role=trial.role)
    numbers = _trained(spec, problem, device, recorded.objective, epochs, console)
    return replace(numbers, exact=device.type == "cpu" and not _was_on_a_gpu(trial))


def _found(
    named: str, runs_dir: Path, define: Callable[[], Definition] | None
) -> tuple[RecordedStudy, Trial, Epochs]:
    """The study, the trial and what was recorded of it.

    Raises:
        InputError: If it is not to be had, or nothing was recorded.
    """
    uri = command_line.tracking_uri(runs_dir)
    try:
        with not_recorded(network=False):
            name, number = _resolved(named, uri)
            study = recorded_study(StudyFolder(runs_dir, name), uri, define)
            study = study if "/" in named else study.in_mlflow()
            trial = _trial(study, number)
            epochs = _epochs(trial)
    except NotRecorded as error:
        raise InputError(f"the tracking store {shown(uri)} does not answer ({error})") from error
    if not epochs:
        raise InputError(
            f"{study.name}/{trial.number} has no recorded epoch: there is nothing to compare with"
        )
    return study, trial, epochs


def _resolved(named: str, uri: str) -> tuple[str, str]:
    """Name of a study and number of a trial, of which MLflow is asked where it named the run.

    Raises:
        InputError: If there is no such run, or it is that of the study, or deleted.
    """
    name, slash, number = named.rpartition("/")
    if slash:
        return name, number
    store = TrackingStore(uri)
    study, run = store.run(named)
    if run.data.tags.get(names.KIND) == "study":
        raise InputError(f"{named} is the run of the study itself: give a trial, {study}/NUMBER")
    if run.info.lifecycle_stage == "deleted":
        raise InputError(f"no trial {named} in {study}, or it was deleted: give {study}/NUMBER")
    return study, str(number_of(run))


def _trial(study: RecordedStudy, number: str) -> Trial:
    """A trial, or final, by its number.

    Raises:
        InputError: If there is none; the message says which there are.
    """
    known = {str(trial.number): trial for trial in study.every}
    if not known:
        raise InputError(f"no trial of {study.name} has begun: there is nothing to compare with")
    if number not in known:
        numbers = [trial.number for trial in study.every]
        raise InputError(
            f"no trial {number} in {study.name}, or it was deleted: give {study.name}/NUMBER, "
            f"{min(numbers)} to {max(numbers)}"
        )
    return known[number]


def _epochs(trial: Trial) -> Epochs:
    return {
        report.epoch: {name: value for name, value in report.metrics.items() if name != NO_METRIC}
        for report in trial.reports
    }


def _config(study: Definition, trial: Trial) -> TrialConfig:
    """The trial's configuration.

    Raises:
        InputError: If this version of the code has other hyperparameters.
    """
    here = {field.name for field in fields(study.config)}
    if others := sorted(here ^ trial.config.keys()):
        commit = _short(_then(trial, names.COMMIT))
        raise InputError(
            f"{', '.join(others)}: not a hyperparameter both of the recorded trial and of this "
            f"version of the code; check out the trial's (commit {commit})"
        )
    return values.made_of(study.config, trial.config)


def _then(trial: Trial, tag: str) -> str:
    """What there is to say of the places where it was trained, one after the other."""
    return placements.in_turn(trial.placements)[tag]


def _was_on_a_gpu(trial: Trial) -> bool:
    """Whether a GPU trained some of its epochs."""
    return any(placement.device != "cpu" for placement in trial.placements)


def _device(trial: Trial) -> torch.device:
    """The kind that it was trained on last, where there is one; with its threads."""
    last = trial.placements[-1]
    gpu = last.device != "cpu" and torch.cuda.is_available()
    return pick_device(float(gpu), last.threads)


def _trained(
    spec: TrialSpec,
    problem: Problem[Any],
    device: torch.device,
    objective: str,
    recorded: Epochs,
    console: Console,
) -> Numbers:
    """The trial up to its last recorded epoch."""
    loop = TrialLoop(spec, problem, device)
    now = {}

    def training(epoch: int) -> str:
        """An epoch; returns why there is none."""
        row = loop.step()
        if isinstance(row, Failed | OutOfMemory):
            return row.reason
        metrics = [name for name in row if "/" in name and name != NO_METRIC]
        now[epoch] = {name: row[name] for name in metrics}
        return ""

    for reason in with_progress(map, console)(training, range(1, max(recorded) + 1)):
        if reason:
            return Numbers(objective, recorded, now, reason)
    return Numbers(objective, recorded, now)


def _code(trial: Trial, file: str) -> str:
    """Commit and versions, then and now."""
    code = of_this_code(file)
    before, now = _then(trial, names.COMMIT), code.commit
    commits = _compared("code", _short(before), _short(now), "commit ")
    if before == now and (now.endswith("+") or now == UNKNOWN):
        commits = f"code: {_short(now)} then and now, which does not say whether it is the same"
    versions = placements.packages(code.versions)
    return f"{commits}\n{_compared('versions', _then(trial, names.VERSIONS), versions)}"


def _short(commits: str) -> str:
    return ", ".join(
        each[:SHOWN] + "+" * (each.endswith("+") and len(each) > SHOWN)
        for each in commits.split(", ")
    )


def _machine(trial: Trial, device: torch.device) -> str:
    here = circumstances(device)
    tags = {"device": names.DEVICE, "processor": names.PROCESSOR, "threads": names.THREADS}
    lines = [_compared(name, _then(trial, tags[name]), here[name]) for name in here]
    if _was_on_a_gpu(trial) and device.type == "cpu":
        lines.append(ELSEWHERE)
    return "\n".join(lines)


def _compared(what: str, before: str, now: str, called: str = "") -> str:
    """One line; of several that were recorded, one after the other, all are named."""
    if before == now:
        return f"{what}: the same ({called}{now})"
    return f"{what}: recorded {called}{before.replace(', ', ', then ')}, now {now}"


def main(argv: Sequence[str] | None = None) -> int:
    """Trains a trial again from the command line; returns the exit code."""
    replace_what_cannot_be_shown()
    description = (__doc__ or "").split("\n")[0]
    line = command_line.Parser(description=description, epilog=HELP, allow_abbrev=False)
    line.add_argument(
        "trial",
        metavar="TRIAL",
        help="MLflow's id of its run; or NAME/NUMBER, name of the study and number of the trial",
    )
    command_line.add_runs_dir(line)
    command_line.add_data_dir(line)
    command_line.add_data(line)
    command_line.add_study_file(line)
    typed = line.parse_args(argv)
    try:
        return command_line.exit_code(lambda: _answered(typed))
    except KeyboardInterrupt:
        print("interrupted; nothing was recorded", file=sys.stderr)
        return 130


def _answered(typed: argparse.Namespace) -> int:
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    define = None if typed.study_file is None else partial(defined_in, typed.study_file)
    numbers = replay(typed.trial, typed.runs_dir, typed.data_dir, typed.data, console, define)
    if numbers is None:
        console.print("\nnumbers: not compared, since those of other data are others")
        return 1
    console.print(numbers.text())
    return 0 if numbers.difference() is None else 1


if __name__ == "__main__":
    sys.exit(main())
