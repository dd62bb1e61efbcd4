"""Records invented studies through the project's own recorder: for the tests of the analyses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studies.recording import Recorder
from trainables.models.gnn import Family, GNNConfig

VALIDATION_VARIANCE = 4.0
"""Of the invented validation targets; D²."""

TRAIN_VARIANCE = 2.0
"""Of the invented train targets; D². A trial that standardizes has its loss in units of it."""


@dataclass(frozen=True)
class Told:
    """One trial: how it went and how it ended.

    Attributes:
        family: Of the model.
        r2: ``validation/r2`` after each epoch.
        state: How it ended.
        baseline: Whether it is the default of its family.
        standardize: Whether its loss is dimensionless.
    """

    family: Family
    r2: Sequence[float]
    state: str = "finished"
    baseline: bool = False
    standardize: bool = True


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


def record(uri: str, folder: Path, study: str, told: Sequence[Told]) -> Recorder:
    """Records a study of these trials, and returns its recorder."""
    recorder = Recorder(uri, study, folder / "artifacts")
    params = {"objective": "validation/r2", "by": "family", "data.target": "mu", "data.unit": "D"}
    recorder.open(
        "Which?", params, {"orrery.host": "here"}, ("gfn2-mu", "0123"), identity="x", trial_tags={}
    )
    for number, trial in enumerate(told):
        config = GNNConfig(family=trial.family, standardize=trial.standardize)
        recorder.started(number, f"{number:04d} {config.title}", config, trial.baseline)
        for epoch, r2 in enumerate(trial.r2, start=1):
            recorder.epoch(number, epoch, metrics(r2, trial.standardize))
        status = {"failed": "FAILED", "stopped": "KILLED"}.get(trial.state, "FINISHED")
        recorder.ended(number, status, {"orrery.state": trial.state})
    recorder.close("FINISHED", {"orrery.trials": str(len(told))})
    return recorder
