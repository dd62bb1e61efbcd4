"""Records invented studies through the project's own recorder: for the tests of the analyses."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

from studies.recording import Recorder
from studies.records import Trial

from analysis.runs import State
from engine.space import Space
from trainables.models.gnn import Family, GNNConfig

VALIDATION_VARIANCE = 4.0
"""Of the invented validation targets; D²."""

TRAIN_VARIANCE = 2.0
"""Of the invented train targets; D². A trial that standardizes has its loss in units of it."""


EPOCHS = 3
"""Of a trial that used its whole budget."""

DATA = {
    "data.dataset": "gfn2",
    "data.target": "mu",
    "facts.unit": "D",
    "data.split": "random",
    "data.digest": "0123",
}


@dataclass(frozen=True)
class Told:
    """One trial: how it went and how it ended.

    Attributes:
        family: Of the model.
        r2: ``validation/r2`` after each epoch.
        state: How it ended.
        baseline: Whether it is the default of its family.
        standardize: Whether its loss is dimensionless.
        learning_rate: Of its optimiser.
        reason: Why it failed.
    """

    family: Family
    r2: Sequence[float]
    state: str = "finished"
    baseline: bool = False
    standardize: bool = True
    learning_rate: float = 2e-3
    reason: str = ""


def metrics(r2: float, standardize: bool) -> dict[str, float]:
    """What a trial of molecules reports with this R²; its train loss is half the validation's."""
    mse = (1 - r2) * VALIDATION_VARIANCE
    loss = mse / TRAIN_VARIANCE if standardize else mse
    return {
        "validation/r2": r2,
        "validation/mse": mse,
        "validation/loss": loss,
        "train/loss": loss / 2,
        "train/seconds": 0.25,
    }


def invented(
    number: int,
    config: GNNConfig,
    epochs: Sequence[Mapping[str, float]],
    state: str = "finished",
    baseline: bool = False,
) -> Trial:
    """An invented trial, as the ledger has it: its epochs' metrics and how it ended."""
    now = time.time_ns() // 1_000_000
    rows = [{**row, "epoch": epoch, "unix_ms": now} for epoch, row in enumerate(epochs, start=1)]
    return Trial(
        identity="x",
        number=number,
        name=f"{number:04d} {config.title}",
        params=asdict(config),
        baseline=baseline,
        state=cast(State, state),
        epoch=len(rows),
        value=epochs[-1]["validation/r2"] if epochs else None,
        started_ms=now,
        ended_ms=now,
        rows=tuple(rows),
    )


def record(
    uri: str,
    folder: Path,
    study: str,
    told: Sequence[Told],
    status: str = "FINISHED",
    **other: str,
) -> Recorder:
    """Records a study of these trials, with other params if they are given, and returns its
    recorder.

    Args:
        uri: MLflow's tracking URI.
        folder: For the artifacts.
        study: Its name.
        told: The trials.
        status: How the study ended; ``RUNNING``: it has not.
        other: Params.
    """
    recorder = Recorder(uri, study, folder / "artifacts")
    params = {"objective": "validation/r2", "by": "family", "seed": 0, **DATA, **other}
    space = Space.of(GNNConfig, "family", {"epochs": [EPOCHS]}).searched()
    tags = {"orrery.host": "here", "orrery.rungs": "1, 2", "orrery.command": "python study.py"}
    recorder.open("Which?", params, tags, ("gfn2-mu", "0123"), identity="x", space=space)
    for number, one in enumerate(told):
        config = GNNConfig(
            family=one.family,
            standardize=one.standardize,
            learning_rate=one.learning_rate,
            epochs=EPOCHS,
        )
        epochs = [metrics(r2, one.standardize) for r2 in one.r2]
        trial = invented(number, config, epochs, one.state, one.baseline)
        recorder.sync(replace(trial, reason=one.reason))
    if status != "RUNNING":
        recorder.close(status, {"orrery.trials": str(len(told))})
    return recorder
