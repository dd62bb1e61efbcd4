"""What a study's user decides, apart from the hyperparameters.

The default of an option that takes a value may be set by the environment, as ORRERY_RUNS_DIR sets
that of --runs-dir (an empty one sets nothing); so a cluster tells its studies where they are.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analysis.command_line import tracking_uri
from datasets.errors import InputError
from trainables.config import at_least

FINALISTS = 5
"""Of a study that does not say."""

TRIALS = 16
"""Of a study that does not say."""

LONGEST_NAME = 100
"""Characters of a study's name."""

NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
"""A study's name: a folder, a word of other commands, an experiment and a model in MLflow, whose
registry takes neither ``/`` nor ``:``."""

SchedulerName = Literal["asha", "none"]

Share = float | Literal["auto"]
"""Of a GPU, for a trial; ``auto``: see `engine.gpu_share.GPUShare`."""


@dataclass(frozen=True)
class Options:
    """How a study is run."""

    name: str | None = None
    """Name of the study; the same name continues it. By default made of what is asked."""

    trials: int | None = None
    """Trials in all, those of earlier sessions of the same study counted in; by default 16, or as
    many as a grid, a preset or a file of configurations has."""

    time_budget: float | None = None
    """Minutes of training after which this session stops, once the epochs under way are done;
    unfinished trials go on in the next one."""

    target_metric: float | None = None
    """Value of the objective at which the study ends."""

    plateau: int | None = None
    """Trials without a better one after which the study ends."""

    finalists: int | None = None
    """The best so many configurations, and the default one, are trained again on fresh seeds once
    the search has ended; 0: none. By default 5; with --local none."""

    seeds: int = 5
    """Trainings of each of them, each with a seed of its own."""

    keep: int = 5
    """Checkpoints of this many finished trials are kept, the best of them; beside those of the
    baselines and of the best of each compared value, which the analyses look at."""

    max_failures: int = 3
    """Times that a trial goes on from its checkpoint after its process died."""

    trial_timeout: float = 60.0
    """Minutes without an epoch after which a trial is stopped as failed; not with --local, where
    a breakpoint takes its time."""

    sampler: Literal["tpe", "random", "gp", "grid"] = "tpe"
    """How configurations are chosen: by Optuna's tree of Parzen estimators, at random, or by its
    Gaussian process; grid: all combinations of the fields of which several values are given."""

    configurations: Path | None = None
    """File of the configurations to train, after the baselines and the defaults: JSON, a list of
    objects, each with some fields and their values; the others have their defaults."""

    scheduler: SchedulerName = "asha"
    """Whether unpromising trials are stopped early (asynchronous successive halving)."""

    preset: str | None = None
    """Try a named configuration of each family instead of searching."""

    cpus_per_trial: int = 1
    """Cores of each trial."""

    gpus_per_trial: Share = "auto"
    """Share of a GPU that each trial has, 0 to 1; 0: the CPU. auto: where there is a GPU, as many
    trials share it as its memory and the cores allow; with --local one at a time has all of it."""

    mps: bool = False
    """Let trials that share a GPU run on it at the same time: NVIDIA's Multi-Process Service is
    started for this study and ended with it."""

    max_concurrent: int | None = None
    """Trials at once; by default as many as the resources allow, on a cluster as many as it can
    grow to."""

    address: str | None = None
    """Ray cluster to run on: auto on one of its nodes, else HOST:PORT. By default RAY_ADDRESS, and
    without that Ray is started on this machine."""

    storage: str | None = None
    """Where the nodes of a cluster share checkpoints and prepared data: s3://BUCKET/FOLDER, or a
    folder that all of them mount. The study's log is there too: it stays where it was begun."""

    local: bool = False
    """Run the trials one by one in this process, without Ray, none stopped early: for a
    debugger."""

    dry_run: bool = False
    """Try the extreme configurations, forecast time, memory and disk, and end there."""

    smoke: bool = False
    """A tiny study of everything, in about a minute: little data, 2 epochs, one trial each."""

    runs_dir: Path = Path("runs")
    """Where everything is written, but for the data."""

    data_dir: Path = Path("data")
    """Where generated and prepared data sets are kept for the next study."""

    def __post_init__(self) -> None:
        if self.trials is not None:
            at_least("--trials", self.trials, 1)
        at_least("--cpus-per-trial", self.cpus_per_trial, 1)
        if self.time_budget is not None:
            at_least("--time-budget", self.time_budget, 0, open_end=True)
        if self.plateau is not None:
            at_least("--plateau", self.plateau, 1)
        if self.finalists is not None:
            at_least("--finalists", self.finalists, 0)
        at_least("--seeds", self.seeds, 1)
        at_least("--keep", self.keep, 0)
        at_least("--max-failures", self.max_failures, 0)
        at_least("--trial-timeout", self.trial_timeout, 0, open_end=True)
        if self.gpus_per_trial != "auto":
            at_least("--gpus-per-trial", self.gpus_per_trial, 0)
            if self.gpus_per_trial > 1:
                raise InputError(
                    f"--gpus-per-trial {self.gpus_per_trial:g}: expected at most 1, as a trial "
                    "trains on one GPU; more of them run more trials at once"
                )
        if self.max_concurrent is not None:
            at_least("--max-concurrent", self.max_concurrent, 1)
        if self.configurations is not None and (self.preset or self.sampler == "grid"):
            other = f"--preset {self.preset}" if self.preset else "--sampler grid"
            raise InputError(f"--configurations and {other}: expected one of them")
        if self.name is not None and not NAME.fullmatch(self.name):
            raise InputError(
                f"--name {self.name!r}: expected letters, digits, '-', '_' and '.', at most "
                f"{LONGEST_NAME} and the first a letter or digit, as it names a folder and a model"
            )

    def total(self, listed: int | None) -> int:
        """How many trials there are to be in all.

        Args:
            listed: How many configurations are listed; None: any number can be proposed.
        """
        if listed is None:
            return self.trials or TRIALS
        return min(self.trials or listed, listed)

    @property
    def cluster(self) -> str | None:
        """Address of the cluster that the trials run on; None: they run on this machine."""
        return None if self.local else self.address or os.environ.get("RAY_ADDRESS")

    @property
    def best_count(self) -> int:
        """How many finalists there are, the default configuration apart."""
        return self.finalists if self.finalists is not None else 0 if self.local else FINALISTS

    @property
    def tracking_uri(self) -> str:
        """Where MLflow records, see `analysis.command_line.tracking_uri`."""
        return tracking_uri(self.runs_dir)


def part_of_a_name(text: str, longest: int) -> str:
    """The text with ``_`` in place of what no study's name has, and no longer than that."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:longest]
