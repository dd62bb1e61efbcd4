"""Command-line options that every study has, apart from the hyperparameters.

An environment variable can set the default of any option that takes a value: ORRERY_RUNS_DIR sets
that of --runs-dir, and an empty variable is ignored. A cluster configures its studies this way.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datasets.errors import InputError
from record.tracking_uri import tracking_uri
from trainables.config import at_least

TRIALS = 16
"""Default number of trials, if ``--trials`` is not given and the configurations are not listed."""

LONGEST_NAME = 100
"""Maximum length of a study's name, in characters."""

NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
"""Pattern of a valid study name.

The name is used for a folder, as an argument of other commands, and for an experiment and a model
in MLflow, whose registry allows neither ``/`` nor ``:``.
"""

NAME_FORM = (
    f"letters, digits, '-', '_' and '.', at most {LONGEST_NAME} and the first a letter or digit, "
    "as it names a folder and a model"
)
"""Describes the form of a valid study name."""

SchedulerName = Literal["asha", "none"]

Share = float | Literal["auto"]
"""Fraction of a GPU for each trial, 0 to 1; ``auto``: see `engine.gpu_share.GPUShare`."""


@dataclass(frozen=True)
class Options:
    """Command-line options that every study has; the field docstrings are the ``--help`` texts."""

    name: str | None = None
    """Name of the study; the same name continues it. By default composed of the study, its data
    and the preset."""

    from_: tuple[str, ...] = ()
    """Names of earlier studies in the same runs folder, or storage, to start from: three
    configurations of each are tried first, the best ones of different families (or of what else is
    compared), and their trials in the space of this one guide the search if they learned from the
    same data for as many epochs."""

    trials: int | None = None
    """Trials in all, including those of earlier sessions of the same study, also of a wider
    space; by default 16, or as many as a grid, a preset or a file of configurations has."""

    time_budget: float | None = None
    """Minutes of training after which this session stops, once the current epochs are done;
    unfinished trials continue in the next session."""

    target_metric: float | None = None
    """Value of the objective at which the study ends; by default none."""

    plateau: int | None = None
    """Number of trials in a row without a better one after which the study ends; by default no
    limit."""

    finalists: int | None = None
    """Number of best configurations that are trained again with fresh seeds once the search has
    ended, besides the default configuration; 0 for none. By default as many as the study says;
    with --local none."""

    seeds: int | None = None
    """Number of times that each finalist is trained, each time with a different seed; by default
    as often as the study says."""

    finals: Literal["race", "all"] = "race"
    """Which finals are trained: race: a finalist that is clearly behind after some seeds is
    dropped; all: every finalist is trained with every seed."""

    keep: int = 5
    """Number of best finished trials whose checkpoint is kept, besides those of the baselines, of
    the best trial of each compared value and of the finals, which the analyses need."""

    max_failures: int = 3
    """Number of times that a trial resumes from its checkpoint after its process crashed."""

    trial_timeout: float = 60.0
    """Minutes without a completed epoch after which a trial is stopped as failed; not used with
    --local, where a breakpoint may take any time."""

    sampler: Literal["tpe", "random", "gp", "grid"] = "tpe"
    """How configurations are chosen: tpe: Optuna's tree-structured Parzen estimator; random: at
    random; gp: Optuna's Gaussian process; grid: all combinations of the fields for which several
    values are given."""

    configurations: Path | None = None
    """JSON file of the configurations to train after the baselines and the defaults: a list of
    objects, each with the values of some fields; the other fields have their defaults."""

    scheduler: SchedulerName = "asha"
    """Early stopping of unpromising trials: asha (asynchronous successive halving) or none."""

    preset: str | None = None
    """Train a named configuration of each family instead of searching."""

    cpus_per_trial: int = 1
    """Number of CPU cores of each trial."""

    workers_per_trial: int = 0
    """Number of further processes of a CPU core each, on any node of a cluster, that share the
    work of each trial; only for studies whose trials spread theirs, such as drives of a
    controller."""

    gpus_per_trial: Share = "auto"
    """Fraction of a GPU for each trial, 0 to 1; 0 trains on the CPU. auto: if there is a GPU, as
    many trials share it as its memory and the CPU cores allow; with --local one trial at a time
    uses all of it."""

    mps: bool = False
    """Let trials that share a GPU run on it at the same time, through NVIDIA's Multi-Process
    Service (MPS), which is started and stopped with this study."""

    max_concurrent: int | None = None
    """Maximum number of concurrent trials; by default as many as the resources allow, on a cluster
    as many as it can grow to."""

    address: str | None = None
    """Address of the Ray cluster to run on: auto on one of its nodes, otherwise HOST:PORT. By
    default the value of RAY_ADDRESS; without that, Ray is started on this machine."""

    storage: str | None = None
    """Where the nodes of a cluster share checkpoints and prepared data: s3://BUCKET/FOLDER, or a
    folder that all nodes mount. The study's log is there too, so a study cannot be moved."""

    local: bool = False
    """Run the trials one at a time in this process, without Ray and without early stopping, for
    debugging."""

    dry_run: bool = False
    """Profile the smallest, default and largest configurations, print a forecast of time, memory
    and disk usage, and exit."""

    smoke: bool = False
    """Run a tiny version of the study in about a minute, as a test: little data, 2 epochs, one
    trial for each baseline and default configuration."""

    runs_dir: Path = Path("runs")
    """Folder for all output except data sets: logs, checkpoints, reports and MLflow's database."""

    data_dir: Path = Path("data")
    """Folder in which generated and prepared data sets are kept for later studies."""

    def __post_init__(self) -> None:
        if self.trials is not None:
            at_least("--trials", self.trials, 1)
        at_least("--cpus-per-trial", self.cpus_per_trial, 1)
        at_least("--workers-per-trial", self.workers_per_trial, 0)
        if self.workers_per_trial and self.local:
            raise InputError(
                f"--workers-per-trial {self.workers_per_trial} and --local: expected one of them, "
                "as local trials run in one process"
            )
        if self.time_budget is not None:
            at_least("--time-budget", self.time_budget, 0, open_end=True)
        if self.plateau is not None:
            at_least("--plateau", self.plateau, 1)
        if self.finalists is not None:
            at_least("--finalists", self.finalists, 0)
        if self.seeds is not None:
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
        if self.from_ and (self.configurations or self.preset or self.sampler == "grid"):
            raise InputError(
                f"--from {self.from_[0]} and listed configurations: expected no --preset, "
                "--sampler grid or --configurations, which leave nothing to search"
            )
        for flag, names in (("--name", (self.name,)), ("--from", self.from_)):
            for name in names:
                if name is not None and not NAME.fullmatch(name):
                    raise InputError(f"{flag} {name!r}: expected {NAME_FORM}")

    def total(self, listed: int | None) -> int:
        """Returns the total number of trials of the search.

        Args:
            listed: Number of configurations in the space; None if any number can be proposed.
        """
        if listed is None:
            return self.trials or TRIALS
        return min(self.trials or listed, listed)

    @property
    def cluster(self) -> str | None:
        """Address of the Ray cluster that runs the trials; None if they run on this machine."""
        return None if self.local else self.address or os.environ.get("RAY_ADDRESS")

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI, see `record.tracking_uri`."""
        return tracking_uri(self.runs_dir)


def variable(field: str) -> str:
    """Returns the environment variable that sets the default of an option, by its field."""
    return f"ORRERY_{field.rstrip('_').upper()}"


def part_of_a_name(text: str, longest: int) -> str:
    """Replaces each run of characters that a study's name cannot have by ``_``.

    Args:
        text: Any text.
        longest: Length to which the result is cut, in characters.
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:longest]
