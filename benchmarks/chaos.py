"""Kills parts of a running study at random moments, continues it, and looks for what was lost.

    python benchmarks/chaos.py --runs 30

Each run starts a small GNN study by its own command line, kills one of its parts without warning,
and runs the same command again, if need be, until it ends well. The victims take turns: the
driver, one worker, all workers, Ray's raylet, and the tracking server, which stays away for 20
seconds. The moment is drawn from the seed. Then three records are read by themselves, without the
code that keeps them straight: Optuna's journal, MLflow's runs, and what Tune did, in the study's
ledger and in the snapshot that Tune made of its last session. A violation is a trial that one of
them does not have or has in another state, a run that is left RUNNING, an epoch that is missing or
there twice, or a value that is not, to the last bit, that of the undisturbed study. All proposals
of the eight trials are independent of the order of the endings, so all of them are compared; a
trial that was stopped early, as far as it went.
"""

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import optuna
import psutil
import pyarrow.parquet as pq
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from studies.search import STARTUP

from benchmarks.rounds import positive
from datasets.typed_paths import typed_path

ROOT = Path(__file__).resolve().parent.parent
NAME = "chaos"
OBJECTIVE = "validation/r2"
TRIALS = STARTUP
"""So many are drawn at random, whatever has ended before."""

STUDY = [
    *("--molecules", "300", "--epochs", "12", "--width", "32", "--depth", "3"),
    *("--trials", str(TRIALS), "--finalists", "0", "--name", NAME),
]
WORKER = re.compile(r"ray::(?!\w+Agent)")
VICTIMS = ("driver", "a worker", "all workers", "raylet", "MLflow")
AWAY = 20.0
"""Seconds that the tracking server stays away."""

ATTEMPTS = 4
"""Times that the same command is typed at most."""

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}

History = dict[int, dict[int, float]]
"""Trial -> epoch -> objective."""


@dataclass
class Outcome:
    """What came of one run.

    Attributes:
        victim: What was killed.
        moment: When, in seconds after the start.
        killed: How many processes.
        starts: Times that the command was typed.
        seconds: All of it.
        violations: What was lost; empty, if nothing was.
    """

    victim: str
    moment: float
    killed: int = 0
    starts: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


def command(folder: Path, scheduler: str) -> list[str]:
    """The study, with everything in a folder but the molecules, which all runs share."""
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder.parent / "data")]
    script = str(ROOT / "studies" / "gnn_sweep.py")
    return [sys.executable, script, *STUDY, "--scheduler", scheduler, *where]


def start(folder: Path, scheduler: str, uri: str | None) -> subprocess.Popen[bytes]:
    """Types the command; what it prints goes into a file."""
    environment = {key: os.environ[key] for key in os.environ if key != "MLFLOW_TRACKING_URI"}
    if uri is not None:
        environment["MLFLOW_TRACKING_URI"] = uri
    folder.mkdir(exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command(folder, scheduler), env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def victims(driver: int, kind: str, rng: random.Random) -> list[psutil.Process]:
    """The processes to kill; empty if there are none yet."""
    try:
        process = psutil.Process(driver)
        if kind == "driver":
            return [process]
        children = process.children(recursive=True)
        if kind == "raylet":
            return [child for child in children if child.name() == "raylet"]
        titles = {child: "".join(child.cmdline()[:1]) for child in children}
        # Ray's agents call themselves so too; the raylet ends itself where it has lost one.
        workers = [child for child in children if WORKER.match(titles[child])]
    except psutil.NoSuchProcess:
        return []
    if kind == "a worker" and workers:
        return [rng.choice(workers)]
    return workers


@contextmanager
def server(folder: Path) -> Iterator["Server"]:
    """A tracking server of this run."""
    made = Server(folder)
    made.begin()
    try:
        yield made
    finally:
        made.kill()


class Server:
    """MLflow's tracking server, which can be killed and come back.

    Args:
        folder: Where its database is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Starts it, and waits until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--port", str(self.port)),
                    *("--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                    *("--workers", "1"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        raise TimeoutError(f"no tracking server at {self.uri}")

    def kill(self) -> None:
        """Without warning, children and all."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def disturbed(folder: Path, outcome: Outcome, scheduler: str, seed: int) -> str:
    """One run: start, kill, continue. Returns MLflow's tracking URI."""
    begun = time.monotonic()
    if outcome.victim == "MLflow":
        with server(folder) as there:
            process = start(folder, scheduler, there.uri)
            outcome.starts = 1
            if not _ends_within(process, outcome.moment):
                there.kill()
                outcome.killed = 1
                time.sleep(AWAY)
                there.begin()
            _until_it_ends_well(process, folder, outcome, scheduler, there.uri)
        uri = f"sqlite:///{folder / 'server.db'}"
    else:
        process = start(folder, scheduler, None)
        outcome.starts = 1
        rng = random.Random(seed)
        _ends_within(process, outcome.moment)
        while process.poll() is None and not outcome.killed:
            for victim in victims(process.pid, outcome.victim, rng):
                victim.kill()
                outcome.killed += 1
            time.sleep(0.1)
        _until_it_ends_well(process, folder, outcome, scheduler, None)
        uri = f"sqlite:///{folder / 'runs' / 'mlflow.db'}"
    outcome.seconds = time.monotonic() - begun
    return uri


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits so long, or until a process has ended; returns whether it has."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is not None


def _until_it_ends_well(
    process: subprocess.Popen[bytes],
    folder: Path,
    outcome: Outcome,
    scheduler: str,
    uri: str | None,
) -> None:
    while process.wait(600) != 0:
        if outcome.starts == ATTEMPTS:
            outcome.violations.append(f"it ends with {process.returncode}")
            return
        process = start(folder, scheduler, uri)
        outcome.starts += 1


def violations(folder: Path, uri: str, known: History) -> list[str]:
    """What is wrong with a study that has ended.

    Args:
        folder: Of the run.
        uri: Of MLflow's store.
        known: The undisturbed study; empty for that study itself.
    """
    journal = JournalStorage(JournalFileBackend(str(folder / "runs" / NAME / "optuna.log")))
    told = {t.number: t for t in optuna.load_study(study_name=NAME, storage=journal).trials}
    in_optuna = {number: STATES.get(trial.state, "?") for number, trial in told.items()}
    runs, parent = _runs(uri)
    in_mlflow = {number: run.data.tags["orrery.state"] for number, run in runs}
    in_tune = {number: facts["state"] for number, (facts, _) in _ledger(folder).items()}
    found = []
    if not len(runs) == len(in_mlflow) == len(in_optuna) == len(in_tune) == TRIALS:
        found.append(f"{len(in_tune)} / {len(in_optuna)} / {len(runs)} of {TRIALS} trials")
    if not in_tune == in_optuna == in_mlflow:
        found.append(f"states differ: {in_tune}, {in_optuna}, {in_mlflow}")
    if parent.info.status != "FINISHED":
        found.append(f"the study is {parent.info.status}")
    client = mlflow.MlflowClient(uri)
    for number, run in runs:
        if run.info.status not in ("FINISHED", "FAILED"):
            found.append(f"trial {number} is {run.info.status}")
        facts, rows = _ledger(folder)[number]
        for metric in run.data.metrics:
            points = client.get_metric_history(run.info.run_id, metric)
            steps = sorted(point.step for point in points)
            if steps != [*range(1, facts["epoch"] + 1)]:
                found.append(f"trial {number}: epochs of {metric} are {steps}")
        points = client.get_metric_history(run.info.run_id, OBJECTIVE)
        values = {point.step: point.value for point in points}
        if values != rows:
            found.append(f"trial {number}: MLflow and the ledger differ")
        complete = number in told and told[number].state is TrialState.COMPLETE
        if complete and told[number].value != rows.get(facts["epoch"]):
            found.append(f"trial {number}: Optuna and the ledger differ")
        undisturbed = known.get(number, rows)
        if any(undisturbed.get(epoch) != value for epoch, value in rows.items()):
            found.append(f"trial {number}: other values than in the undisturbed study")
    return [*found, *_unfinished_in_tune(folder), *_doctor(folder, uri)]


def _runs(uri: str) -> tuple[list[tuple[int, Run]], Run]:
    """Number and run of each trial, and the study's own."""
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    trials = [run for run in runs if "orrery.trial" in run.data.tags]
    (parent,) = (run for run in runs if "orrery.trial" not in run.data.tags)
    return [(int(run.data.tags["orrery.trial"]), run) for run in trials], parent


def _ledger(folder: Path) -> dict[int, tuple[dict, dict[int, float]]]:
    """Trial -> what the ledger says of it, and its objective by epoch."""
    found = {}
    for file in sorted((folder / "runs" / NAME / "ledger").glob("*.parquet")):
        table = pq.read_table(file)
        facts = json.loads(table.schema.metadata[b"orrery.trial"])
        epochs, values = (table[key].to_pylist() for key in ("epoch", OBJECTIVE))
        found[facts["number"]] = facts, dict(zip(epochs, values, strict=True))
    return found


def _unfinished_in_tune(folder: Path) -> Sequence[str]:
    """Trials that Tune's own snapshot of its last session does not have as over."""
    snapshots = sorted((folder / "runs" / NAME / "trials").glob("*/experiment_state-*.json"))
    if not snapshots:
        return []
    newest = json.loads(snapshots[-1].read_text(encoding="utf-8"))
    trials = [json.loads(trial) for trial, _ in newest["trial_data"]]
    return [
        f"Tune has {trial['trial_id']} as {trial['status']}"
        for trial in trials
        if trial["status"] not in ("TERMINATED", "ERROR")
    ]


def _doctor(folder: Path, uri: str) -> Sequence[str]:
    """What the study's own doctor finds."""
    script = str(ROOT / "studies" / "doctor.py")
    done = subprocess.run(
        [sys.executable, script, NAME, "--runs-dir", str(folder / "runs")],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
    )
    return [] if done.returncode == 0 else [f"doctor: {done.stdout}{done.stderr}"]


def main() -> int:
    """Prints the table; returns 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=positive, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", choices=VICTIMS, help="always kill this one")
    parser.add_argument("--keep", type=typed_path, help="keep what was lost here, to be looked at")
    typed = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = typed.keep or Path(scratch)
        base.mkdir(parents=True, exist_ok=True)
        lost = run(base, typed.runs, typed.seed, typed.only)
    return 1 if lost else 0


def run(base: Path, runs: int, seed: int, only: str | None) -> int:
    """All runs, with a table; returns the number of violations."""
    whole = Outcome("nothing", 0.0)
    uri = f"sqlite:///{base / 'whole' / 'runs' / 'mlflow.db'}"
    begun = time.monotonic()
    _until_it_ends_well(start(base / "whole", "none", None), base / "whole", whole, "none", None)
    seconds = time.monotonic() - begun
    whole.violations += violations(base / "whole", uri, {})
    known = {number: rows for number, (_, rows) in _ledger(base / "whole").items()}
    print(f"undisturbed: {seconds:.0f} s; {shlex.join(STUDY)}; {whole.violations or 'in order'}")
    print("| run | killed | processes | after s | scheduler | starts | s | violations |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    lost = len(whole.violations)
    for number in range(runs):
        rng = random.Random(f"{seed} {number}")
        victim = only or VICTIMS[number % len(VICTIMS)]
        scheduler = rng.choice(["none", "asha"])
        outcome = Outcome(victim, rng.uniform(0.1, 0.95) * seconds)
        folder = base / f"run-{number:03d}"
        uri = disturbed(folder, outcome, scheduler, rng.randrange(2**32))
        while not outcome.killed:  # it had ended before, or had no such process any more
            outcome = Outcome(victim, 0.7 * min(outcome.moment, outcome.seconds))
            shutil.rmtree(folder)
            uri = disturbed(folder, outcome, scheduler, rng.randrange(2**32))
        outcome.violations += violations(folder, uri, known)
        lost += len(outcome.violations)
        print(
            f"| {number} | {victim} | {outcome.killed} | {outcome.moment:.1f} | {scheduler} "
            f"| {outcome.starts} | {outcome.seconds:.0f} | {'; '.join(outcome.violations) or 0} |",
            flush=True,
        )
    print(f"{lost} violations in {runs} runs")
    return lost


if __name__ == "__main__":
    sys.exit(main())
