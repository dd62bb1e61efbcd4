"""Disturbs a running study: its processes are killed, its files are lost.

Each mishap starts the study, waits for the moment, strikes, and has the same command typed until
it ends well. It strikes nothing where the study has ended before.
"""

import random
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import mlflow
import psutil

from benchmarks.mlflow_server import server
from benchmarks.typed_study import NAME, PATIENCE, TypedStudy, ends_within
from record import names

WORKER = re.compile(r"ray::(?!\w+Agent)")

AWAY = 20.0
"""Seconds that the tracking server stays away."""

REFUSED = "is running in another process"


@dataclass(frozen=True)
class Chance:
    """The chances that make up a run.

    Attributes:
        folder: Folder for everything of the run.
        scheduler: Whether unpromising trials are stopped early.
        moment: Seconds after the start, when the mishap strikes.
        dice: Decides what else is left to chance.
    """

    folder: Path
    scheduler: str
    moment: float
    dice: random.Random


@dataclass
class Outcome:
    """The outcome of one run.

    Attributes:
        study: The study that was disturbed.
        struck: How many processes, files or runs were struck.
        deleted: Ids of runs that were deleted in MLflow by hand.
        violations: The list of what was lost; empty, if nothing was.
    """

    study: TypedStudy
    struck: int
    deleted: Sequence[str] = ()
    violations: list[str] = field(default_factory=list)


Mishap = Callable[[Chance], Outcome]
Finder = Callable[[psutil.Process, random.Random], list[psutil.Process]]
"""Finds among a driver and its children whom to kill; nobody, if there is none yet."""


def killing(find: Finder) -> Mishap:
    """The mishap in which processes are killed without warning."""

    def happens(chance: Chance) -> Outcome:
        """Kills whom `find` finds."""
        study = TypedStudy(chance.folder, chance.scheduler)
        process, struck = _killed(study, chance, find)
        return _continued(study, process, struck)

    return happens


def server_away(chance: Chance) -> Outcome:
    """The tracking server is killed, and comes back."""
    with server(chance.folder) as there:
        study = TypedStudy(chance.folder, chance.scheduler, there.uri)
        process, struck = study.start(), 0
        if not ends_within(process, chance.moment):
            there.kill()
            time.sleep(AWAY)
            there.begin()
            struck = 1
        outcome = _continued(study, process, struck)
    study.server = there.database
    return outcome


def database_lost(chance: Chance) -> Outcome:
    """The driver is killed, and MLflow's database is lost."""
    study = TypedStudy(chance.folder, chance.scheduler)
    database = study.paths.database
    process, struck = _killed(study, chance, lambda it, _: [it] if database.is_file() else [])
    database.unlink()
    return _continued(study, process, struck)


def run_deleted(chance: Chance) -> Outcome:
    """The driver is killed, and the user deletes the run of a trial in MLflow."""
    study = TypedStudy(chance.folder, chance.scheduler)
    process, struck = _killed(study, chance, lambda it, _: [it] if _shown(study) else [])
    run_id = chance.dice.choice(_shown(study))
    mlflow.MlflowClient(study.uri).delete_run(run_id)
    outcome = _continued(study, process, struck)
    outcome.deleted = [run_id]
    return outcome


def disk_lost(chance: Chance) -> Outcome:
    """The driver is killed and its disk is lost; what it shared is not."""
    study = TypedStudy(chance.folder, chance.scheduler, is_shared=True)
    process, struck = _killed(study, chance, driver)
    while study.paths.runs_dir.exists():  # what is left of Ray may write there for a moment
        shutil.rmtree(study.paths.runs_dir, ignore_errors=True)
    return _continued(study, process, struck)


def second_driver(chance: Chance) -> Outcome:
    """A second window has the study's command typed too, where it has to be refused."""
    study = TypedStudy(chance.folder, chance.scheduler)
    process, struck, wrong = study.start(), 0, []
    if not ends_within(process, chance.moment):
        code = study.start_beside().wait(PATIENCE)
        is_refused = code == 2 and REFUSED in study.beside.read_text(encoding="utf-8")
        struck = int(is_refused)
        if not is_refused and process.poll() is None:
            wrong.append(f"a second driver ends with {code}")
    outcome = _continued(study, process, struck)
    outcome.violations += wrong
    return outcome


def _killed(study: TypedStudy, chance: Chance, find: Finder) -> tuple["Popen[bytes]", int]:
    """Starts a study and kills whom it finds, as soon as the moment has come and there is
    somebody; returns the driver, and how many were killed."""
    process = study.start()
    ends_within(process, chance.moment)
    while process.poll() is None:
        try:
            found = find(psutil.Process(process.pid), chance.dice)
        except psutil.NoSuchProcess:
            found = []
        for each in found:
            each.kill()
        if found:
            ends_within(process, 1.0)
            return process, len(found)
        time.sleep(0.1)
    return process, 0


def _continued(study: TypedStudy, process: "Popen[bytes]", struck: int) -> Outcome:
    """Has the command typed until it ends well."""
    study.look()
    wrong = study.end_well(process)
    return Outcome(study, struck, violations=[wrong] if wrong else [])


def driver(process: psutil.Process, dice: random.Random) -> list[psutil.Process]:
    """Finds the driver itself."""
    del dice
    return [process]


def workers(process: psutil.Process, dice: random.Random) -> list[psutil.Process]:
    """Finds all of Ray's workers. Its agents have names like theirs; the raylet ends itself where
    it has lost one."""
    del dice
    children = process.children(recursive=True)
    return [child for child in children if WORKER.match("".join(child.cmdline()[:1]))]


def worker(process: psutil.Process, dice: random.Random) -> list[psutil.Process]:
    """Finds one of Ray's workers."""
    found = workers(process, dice)
    return [dice.choice(found)] if found else []


def raylet(process: psutil.Process, dice: random.Random) -> list[psutil.Process]:
    """Finds Ray's raylet."""
    del dice
    return [each for each in process.children(recursive=True) if each.name() == "raylet"]


def _shown(study: TypedStudy) -> list[str]:
    """Lists the ids of the runs of trials in MLflow."""
    if not study.paths.database.is_file():
        return []
    client = mlflow.MlflowClient(study.uri)
    experiment = client.get_experiment_by_name(NAME)
    if experiment is None:
        return []
    runs = client.search_runs([experiment.experiment_id], f"tags.`{names.KIND}` = 'trial'")
    return sorted(run.info.run_id for run in runs)


MISHAPS: Mapping[str, Mishap] = {
    "driver": killing(driver),
    "a worker": killing(worker),
    "all workers": killing(workers),
    "raylet": killing(raylet),
    "MLflow": server_away,
    "database": database_lost,
    "a run": run_deleted,
    "disk": disk_lost,
    "second driver": second_driver,
}
"""What is struck -> how."""
