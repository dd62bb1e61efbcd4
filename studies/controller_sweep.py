"""Which vision and which memory let a linear controller drive a car best?

Ha and Schmidhuber's World Models on CarRacing-v3: a vision sees each frame as a few numbers, a
memory predicts the next ones, and CMA-ES searches a linear controller of both. Compared are a
variational autoencoder, one trained against a discriminator, an autoencoder, principal components
and an encoder that is not trained, each with a memory that is trained, untrained or left out. The
objective is the mean return of the controller on 16 tracks; each vision without a memory is the
baseline. Needs no download: the drives that vision and memory learn from are recorded on the spot.
"""

import sys
from typing import Any

from analysis.controller_scorecard import ControllerScorecard
from datasets.driving import DrivingOptions, open_drives
from datasets.errors import InputError
from datasets.tools import Tools
from engine.main import main
from engine.study import Study
from trainables.controller_config import ControllerConfig
from trainables.racing_controller import ControllerProblem


def open_problem(options: DrivingOptions, seed: int, tools: Tools) -> ControllerProblem:
    """Opens the drives that vision and memory learn from, and the tracks.

    Raises:
        InputError: If the drives cannot be used, or show what controllers do not see.
    """
    if options.drawing != "arrays":
        raise InputError(
            f"--drawing {options.drawing} shows the dashboard, which controllers do not see: "
            "expected arrays"
        )
    drives = open_drives(options, seed, tools.cache, tools.parallel)
    return ControllerProblem(drives, tools.cache, tools.parallel)


def data_title(options: DrivingOptions) -> str:
    """Returns the driver of the recorded drives, which becomes part of the study's name."""
    return options.driver


def without_memory(vision: str) -> dict[str, Any]:
    """Returns the default configuration without a memory."""
    return {"vision": vision, "memory": "none"}


STUDY = Study(
    key="controller",
    question=__doc__ or "",
    file=__file__,
    config=ControllerConfig,
    group_by="vision",
    objective="validation/return",
    data_options=DrivingOptions,
    data_file="recordings",
    open=open_problem,
    data_title=data_title,
    presets={"without-memory": without_memory},
    baseline="without-memory",
    first_rung=0.5,
    finalists=3,
    seeds=3,
    spreads=True,
    smoke={"episodes": 20, "steps": 80},
    smoke_config={
        "vision": ("vae", "vaegan", "pca"),
        "vision_epochs": (1,),
        "memory_epochs": (1,),
        "epochs": (3,),
        "population": (8,),
    },
    scorecard=ControllerScorecard(),
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
