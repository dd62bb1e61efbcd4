"""Which recurrent world model dreams a drive best, and what makes it so?

LSTM world models on CarRacing, with torch's LSTM and with one written from its equations, searched
over hidden size, sequence length, scheduled sampling, noise, multi-step loss, encoder and decoder.
The objective is the skill of the free-running rollout: 1 - its error as a share of freezing the
last frame seen. The published homework's configuration is the baseline. Needs no download: the
drives are recorded on the spot.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from analysis import finals, loss_curves, report, rollouts, served
from datasets.cache import Cache
from datasets.driving import DrivingOptions, open_drives
from datasets.parallel import ParallelMap
from engine.main import main
from engine.study import Study, StudyData
from trainables.driving import (
    HORIZON,
    DrivingTask,
    check_movement,
    check_windows,
    judged_horizon,
)
from trainables.models.world_model import WorldModelConfig, homework
from trainables.rollout import CONTEXT


def open_data(
    options: DrivingOptions,
    seed: int,
    cache: Cache,
    parallel: ParallelMap,
    say: Callable[[str], None],
) -> StudyData:
    """The drives as a study's data."""
    drives = open_drives(options, seed, cache, parallel)
    check_movement(drives)
    horizon = judged_horizon(drives)
    for part in ("validation", "test"):
        lengths = drives.recordings.lengths[getattr(drives.split, part)]
        short = int((lengths < CONTEXT + horizon).sum())
        if short:
            say(
                f"{short} of {len(lengths)} {part} episodes are left out: they have less than "
                f"{CONTEXT + horizon} frames"
            )
    if horizon < HORIZON:
        say(f"trials are compared over {horizon} frames after the context, not {HORIZON}")
    return StudyData(
        make_task=partial(DrivingTask, drives),
        digest=drives.digest,
        check=partial(check_windows, drives),
        facts={
            "frames": len(drives.recordings.frames),
            "horizon": horizon,
            "pixels": drives.recordings.size,
            "train": len(drives.split.train),
            "validation": len(drives.split.validation),
            "test": len(drives.split.test),
        },
    )


def data_title(options: DrivingOptions) -> str:
    """``pursuit``, or the name of a file."""
    return Path(options.recordings).stem if options.recordings else options.driver


STUDY = Study(
    key="world-model",
    question=__doc__ or "",
    config=WorldModelConfig,
    by="core",
    objective="validation/skill",
    data_options=DrivingOptions,
    data_file="recordings",
    open_data=open_data,
    data_title=data_title,
    presets={"homework": homework},
    baseline="homework",
    smoke={"episodes": 20, "steps": 80},
    analyses=(loss_curves.analyse, rollouts.analyse, finals.analyse, report.analyse),
    serve=served.world_model,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
