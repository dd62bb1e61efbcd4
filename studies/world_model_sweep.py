"""Which world model predicts a drive best, the next frame and a long dream, and what makes it so?

World models on CarRacing, with torch's LSTM, with one written from its equations and with a
transformer, searched over hidden size, layers, the transformer's window, sequence length,
scheduled sampling, noise, the weight of one-step errors, learning rate and batch size. The
objective is the mean of two skills: 1 - error at one step as a share of copying the frame before,
and 1 - error of the free-running rollout as a share of the better of freezing the last frame seen
and the mean frame. The published homework's configuration is the baseline; it has LSTMs, and a
transformer takes their place. Needs no download: the drives are recorded on the spot.
"""

import sys
from pathlib import Path

from analysis import packaged_model
from analysis.driving_scorecard import DrivingScorecard
from datasets.driving import DrivingOptions, open_drives
from datasets.tools import Tools
from engine.main import main
from engine.study import Study
from trainables.driving import DrivingProblem
from trainables.models.world_model import WorldModelConfig, homework


def open_problem(options: DrivingOptions, seed: int, tools: Tools) -> DrivingProblem:
    """Opens the drives that the options name."""
    problem = DrivingProblem(open_drives(options, seed, tools.cache, tools.parallel))
    for remark in problem.remarks():
        tools.notify(remark)
    return problem


def data_title(options: DrivingOptions) -> str:
    """Returns the driver, such as ``pursuit``, or the recordings' file name without suffix; it
    becomes part of the study's name."""
    return Path(options.recordings).stem if options.recordings else options.driver


STUDY = Study(
    key="world-model",
    question=__doc__ or "",
    config=WorldModelConfig,
    group_by="core",
    objective="validation/skill",
    data_options=DrivingOptions,
    data_file="recordings",
    open=open_problem,
    data_title=data_title,
    presets={"homework": homework},
    baseline="homework",
    finalists=3,  # each training takes minutes
    seeds=3,
    smoke={"episodes": 20, "steps": 80},
    scorecard=DrivingScorecard(),
    file=__file__,
    package=packaged_model.world_model,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
