"""Trains one recorded trial again and reports whether code, data and numbers are the same.

    python studies/replay.py RUN_ID
    python studies/replay.py NAME/NUMBER

The trial's configuration, its epochs and its data set are read from the study's record. It is
trained without Ray, on the same kind of device and with the same number of threads, up to its last
recorded epoch, however the trial ended. Nothing is recorded.

On the CPU every number has to be bit-identical. A GPU adds in no fixed order, and the differences
in the last digits grow until they are as large as those between seeds: if a GPU was used, then or
now, each metric has to be within 20 % of the recorded one, in the median over its epochs. That
detects other data, another configuration or broken code, but no small difference.

Exit code: 0 if the numbers are the same in this sense; 1 if they are not, or if the data differ,
in which case the numbers are not compared; 2 for bad input; 130 after Ctrl-C.
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
from record.tracking_uri import tracking_uri
from record.trial import Trial
from trainables.config import TrialConfig
from trainables.device import circumstances, pick_device
from trainables.problem import Problem
from trainables.trial_loop import Failed, OutOfMemory, TrialLoop
from trainables.trial_spec import TrialSpec

NO_METRIC = "train/seconds"
"""The one reported value that is left out of the comparison: a duration, not a result."""

SHOWN = 10
"""Number of characters of a commit hash that are printed."""

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
        named: MLflow run id of the trial, or name of the study and number of the trial:
            ``gnn-gfn2-mu/14``.
        runs_dir: Folder in which the study was recorded.
        data_dir: Folder of prepared data.
        where: The study's data file on this machine; None for the path that the study recorded.
        console: Prints how code and data compare, then the progress.
        define: Returns the study's definition, its ``STUDY``; None to find it as
            `record.definition` does.

    Returns:
        The recorded and the new numbers; None if the data are not those that the trial was trained
        on.

    Raises:
        InputError: If the trial, or its data, cannot be found.
    """
    recorded, trial, epochs = _found(named, runs_dir, define)
    config = _config(recorded.definition, trial)
    data_options(recorded, where)  # missing data are reported before anything else is printed
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
    """Returns the study, the trial and the metrics of its recorded epochs.

    Raises:
        InputError: If the trial cannot be found, or has no recorded epoch.
    """
    uri = tracking_uri(runs_dir)
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
    """Returns study name and trial number, from ``NAME/NUMBER`` or by looking a run id up in
    MLflow.

    Raises:
        InputError: If there is no such run, it is the study's own run, or it was deleted.
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
    """Returns the trial, of the search or of the finals, with a number.

    Raises:
        InputError: If there is none; the message gives the range of valid numbers.
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
    """Returns the trial's configuration as an instance of the study's config class.

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
    """Returns a tag's values over all placements of the trial, in the order of training."""
    return placements.in_turn(trial.placements)[tag]


def _was_on_a_gpu(trial: Trial) -> bool:
    """Whether a GPU trained some of its epochs."""
    return any(placement.device != "cpu" for placement in trial.placements)


def _device(trial: Trial) -> torch.device:
    """Picks a GPU if the trial was last trained on one and one is available, else the CPU, with
    the recorded number of threads."""
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
    """Trains the trial up to its last recorded epoch, or until it fails."""
    loop = TrialLoop(spec, problem, device)
    now = {}

    def training(epoch: int) -> str:
        """Trains an epoch and keeps its metrics; returns why it failed, or an empty string."""
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
    """Compares commit and package versions, recorded and current, in two lines."""
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
    """Returns one line that compares a recorded value with the current one; if several values were
    recorded, it lists them all."""
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
