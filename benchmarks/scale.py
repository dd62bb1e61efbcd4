"""What a study costs its driver when a hundred trials run at once.

    python benchmarks/scale.py

Trials that learn nothing, each a process of Ray's, through the project's own Optuna bridge,
scheduler, log in a shared folder and MLflow; a study of each size in a process of its own. Prints
the driver's processor time for a trial and for a report, and its memory: what grows with the
number of trials would grow from row to row. Optuna's own share, TPE's look at earlier trials
whenever one is asked for, is given beside it.

    python benchmarks/scale.py --asking 2000

The same share alone, without Ray, as a study grows.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import ray

from benchmarks.driven_study import OBJECTIVE, DrivenStudy
from benchmarks.rounds import positive
from benchmarks.stub_trial import StubConfig, StubTrial
from engine.checkpoints import as_upath
from engine.on_ray import backend
from engine.on_ray.backend import RayBackend
from engine.options import Options
from engine.search_memory import Draw, SearchMemory
from engine.space import Space
from record.folder import StudyFolder
from record.trial import Report, Status, Trial
from record.values import plain
from trainables.fit import SupervisedProblem

ROOT = Path(__file__).resolve().parent.parent

COLUMNS = {
    "trials": "trials",
    "reports": "reports",
    "wall_s": "wall time, s",
    "trial_ms": "driver CPU a trial, ms",
    "asking_ms": "of it asking Optuna, ms",
    "report_ms": "driver CPU a report, ms",
    "memory_mib": "driver memory, MiB",
}


def asked(trials: int, at_once: int) -> Iterator[tuple[int, float]]:
    """Asks for trials and ends them at random, half of them early; tells after every tenth of
    them how many there were and what the last ones took, in ms of processor time each."""
    dice, tenth = random.Random(0), max(1, trials // 10)
    memory = SearchMemory(Space.of(StubConfig, "family", {}), "tpe", 0, OBJECTIVE)
    spent = timed_asking(memory)
    running: list[Draw] = []
    for number in range(1, trials + 1):
        running.append(memory.ask())
        if len(running) == at_once:
            draw = running.pop(dice.randrange(at_once))
            memory.tell(ended(draw, "finished" if dice.random() < 0.5 else "pruned"))
        if number % tenth == 0:
            yield number, 1000 * spent[0] / tenth
            spent[0] = 0.0


def ended(draw: Draw, status: Status) -> Trial:
    """A trial that has come to its end, its level reached or, stopped early, half of it."""
    config = plain(asdict(draw.config))
    value = config["level"] if status == "finished" else config["level"] / 2
    report = Report(epoch=1, unix_ms=0, memory_gib=0.0, metrics={OBJECTIVE: value})
    return Trial(draw.role.index, config, draw.drawn, draw.role, status, (report,))


def measured(trials: int, at_once: int, epochs: int, seconds: float) -> dict[str, float]:
    """A study in this process, and what it cost."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["PYTHONPATH"] = str(ROOT)
        ray.init(num_cpus=at_once, include_dashboard=False, log_to_driver=False, address="local")
        folder = StudyFolder(Path(name), "scale", as_upath(f"{name}/shared"))
        space = Space.of(StubConfig, "family", {"epochs": [epochs], "seconds": [seconds]})
        study = DrivenStudy(folder, space, trials)
        asking = timed_asking(study.memory)
        backend.TrialTrainable = StubTrial  # pyright: ignore[reportAttributeAccessIssue]
        process = psutil.Process()
        begun, cpu = time.perf_counter(), sum(process.cpu_times()[:2])
        RayBackend(NO_PROBLEM, Options(max_concurrent=at_once), 0).run(study.driver)
        study.close()
        cpu = sum(process.cpu_times()[:2]) - cpu
        wall = time.perf_counter() - begun
        assert study.state.count("finished", "pruned") == trials, study.driver.agenda.stop
        reports = sum(trial.epoch for trial in study.state.trials())
        ray.shutdown()
        return {
            "trials": trials,
            "reports": reports,
            "wall_s": wall,
            "trial_ms": 1000 * cpu / trials,
            "asking_ms": 1000 * asking[0] / trials,
            "report_ms": 1000 * cpu / reports,
            "memory_mib": process.memory_info().rss / 2**20,
        }


def no_task(*_: Any) -> Any:
    """Makes nothing of a configuration."""


NO_PROBLEM = SupervisedProblem(no_task, digest="")
"""Stands for what is learned from: a stub learns nothing."""


def timed_asking(memory: SearchMemory) -> list[float]:
    """Processor seconds that Optuna takes to propose, added up as it does."""
    spent, ask = [0.0], memory.ask

    def timed() -> Draw:
        begun = time.thread_time()
        try:
            return ask()
        finally:
            spent[0] += time.thread_time() - begun

    memory.ask = timed
    return spent


def main() -> int:
    """Prints a row for each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=positive, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--at-once", type=positive, default=100)
    parser.add_argument("--epochs", type=positive, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each epoch")
    parser.add_argument("--here", action="store_true", help="one size, in this process, as JSON")
    parser.add_argument("--asking", type=positive, help="only ask Optuna for so many trials")
    typed = parser.parse_args()
    if typed.asking:
        print("| trials so far | asking Optuna, ms |\n|---|---|")
        for number, milliseconds in asked(typed.asking, typed.at_once):
            print(f"| {number:,} | {milliseconds:.1f} |", flush=True)
        return 0
    if typed.here:
        row = measured(typed.trials[0], typed.at_once, typed.epochs, typed.seconds)
        print(json.dumps(row))
        return 0
    print(f"| {' | '.join(COLUMNS.values())} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for trials in typed.trials:
        common = ["--at-once", str(typed.at_once), "--epochs", str(typed.epochs)]
        common += ["--seconds", str(typed.seconds), "--here", "--trials", str(trials)]
        done = subprocess.run(
            [sys.executable, __file__, *common], stdout=subprocess.PIPE, text=True, check=True
        )
        row = json.loads(done.stdout.splitlines()[-1])
        cells = [f"{row[key]:,.{1 if key.endswith('_ms') else 0}f}" for key in COLUMNS]
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
