"""Free-running rollouts of a study's champion on a recorded drive."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis import film, rollout_scores
from analysis.champion import Champion
from analysis.markdown import table as markdown_table
from analysis.opening import opened
from analysis.rollouts import HORIZONS
from datasets.driving import read_drives
from datasets.errors import InputError
from datasets.files import write_whole
from datasets.recordings import Recordings
from record.recorded_study import RecordedStudy
from trainables import rollout
from trainables.rollout import CONTEXT


@dataclass(frozen=True)
class Drive:
    """One recorded episode, of K context frames and T frames to predict.

    Attributes:
        title: A phrase that says which episode it is.
        frames: (1, K + T, 3, S, S) float32, from 0 to 1.
        actions: (1, K + T, 3) float32: steering, throttle, brake.
    """

    title: str
    frames: Tensor
    actions: Tensor


@dataclass(frozen=True)
class Dreamt:
    """Free-running rollouts of an episode, one per training seed.

    Attributes:
        frames: (seeds, T, 3, S, S) float32, the predicted frames.
        mse: (seeds, T) float64, mean squared error at each horizon, in squared pixel values.
        freeze: (T,) float64, the error of freezing the last context frame, same unit.
    """

    frames: Tensor
    mse: np.ndarray
    freeze: np.ndarray


def of_file(study: RecordedStudy, path: Path, episode: int) -> Drive:
    """Reads an episode, counted from 0, from a file of recordings.

    Raises:
        InputError: If the file is missing or no recording, its frames are not of the study's size,
            or the episode does not exist or is too short.
    """
    recordings = read_drives(path)
    if recordings.size != study.fact("pixels"):
        raise InputError(
            f"{path} has frames of {recordings.size} pixels: {study.name} was trained on "
            f"{study.fact('pixels')}"
        )
    return _drive(recordings, np.arange(len(recordings)), episode, f"episodes in {path}")


def of_study(study: RecordedStudy, data_dir: Path, where: str | None, episode: int) -> Drive:
    """Returns one of the study's own test episodes, counted from 0.

    Raises:
        InputError: If the study's drives cannot be found or have changed, or the episode does not
            exist or is too short.
    """
    data = opened(study, data_dir, where).drives
    return _drive(data.recordings, data.split.test, episode, f"test episodes of {study.name}")


def _drive(recordings: Recordings, episodes: np.ndarray, episode: int, what: str) -> Drive:
    """Cuts one episode out of recordings.

    Raises:
        InputError: If there is no such episode, or it has no frame after the context.
    """
    if not 0 <= episode < len(episodes):
        raise InputError(f"no --episode {episode}: there are {len(episodes)} {what}, from 0")
    begin, end = recordings.offsets[episodes[episode] : episodes[episode] + 2]
    if end - begin <= CONTEXT:
        raise InputError(
            f"--episode {episode} has {end - begin} frames: expected more than the {CONTEXT} that "
            "a rollout sees first"
        )
    return Drive(
        title=f"number {episode} of the {len(episodes)} {what}",
        frames=torch.tensor(recordings.frames[begin:end])[None].float() / 255,
        actions=torch.tensor(recordings.actions[begin:end])[None],
    )


@torch.no_grad()
def dream(champion: Champion, drive: Drive) -> Dreamt:
    """Rolls a drive out free-running with each of the champion's models, from the context frames
    and with the recorded actions.

    Raises:
        InputError: If the weights do not fit this version of the model.
    """
    truth = drive.frames[:, CONTEXT:]
    horizon, size = truth.shape[1], truth.shape[-1]
    frames = torch.cat(
        [
            rollout.autoregressive(
                rollout_scores.restore(final, weights, size),
                drive.frames[:, :CONTEXT],
                drive.actions,
                horizon,
            )
            for final, weights in champion.finals
        ]
    )
    frozen = rollout.freeze(drive.frames, CONTEXT)
    return Dreamt(
        frames=frames,
        mse=rollout.frame_mse(frames, truth).double().numpy(),
        freeze=rollout.frame_mse(frozen, truth)[0].double().numpy(),
    )


def write(found: Dreamt, drive: Drive, champion: Champion, folder: Path) -> list[Path]:
    """Writes ``dream.csv``, the errors at all horizons, and ``dream.gif``, an animation; each file
    is written atomically.

    Raises:
        OSError: If they cannot be written.
    """
    table = pd.DataFrame(
        {
            "horizon": np.arange(1, found.mse.shape[1] + 1),
            "mse (squared pixel values)": found.mse.mean(axis=0),
            "standard deviation over the seeds": _spread(found.mse),
            "freeze": found.freeze,
            **{
                f"seed {seed}": errors
                for seed, errors in zip(champion.seeds, found.mse, strict=True)
            },
        }
    )
    write_whole(folder / "dream.csv", table.to_csv(index=False).encode())
    columns = [("truth", drive.frames[0, CONTEXT:])]
    columns += [(f"seed {s}", film) for s, film in zip(champion.seeds, found.frames, strict=True)]
    columns += [("freeze", rollout.freeze(drive.frames, CONTEXT)[0])]
    shown = [(title, rollout_scores.as_bytes(frames)) for title, frames in columns]
    write_whole(folder / "dream.gif", film.play(shown))
    return [folder / "dream.csv", folder / "dream.gif"]


def _spread(errors: np.ndarray) -> np.ndarray:
    """Returns the standard deviation over the seeds, the first axis; NaN for a single seed."""
    if len(errors) == 1:
        return np.full(errors.shape[1:], np.nan)
    return errors.std(axis=0, ddof=1)


def markdown(found: Dreamt, drive: Drive, study: RecordedStudy, champion: Champion) -> str:
    """Returns error against horizon as an aligned Markdown table, with an explanation below."""
    longest = len(found.freeze)
    horizons = [horizon for horizon in HORIZONS if horizon <= longest]
    rows = [
        _row(str(horizon), found.mse[:, horizon - 1], found.freeze[horizon - 1])
        for horizon in horizons
    ]
    rows.append(_row(f"mean 1 to {longest}", found.mse.mean(axis=1), found.freeze.mean(axis=0)))
    header = ["horizon", "MSE", "standard deviation", "freeze", "share of freeze"]
    caption = (
        f"{study.name}: free-running rollouts of {champion.title}, over the episode "
        f"{drive.title}, after {CONTEXT} frames of context, with the actions that were recorded: "
        "mean squared errors (pixel values from 0 to 1), mean and standard deviation over "
        f"{champion.trainings}. Freeze keeps the last frame of the context.{champion.remark}"
    )
    return f"{markdown_table(header, rows)}\n\n{caption}\n"


def _row(name: str, errors: np.ndarray, freeze: float) -> list[str]:
    mean, spread = errors.mean(axis=0), _spread(errors)
    share = f"{mean / freeze:.2f}" if freeze else "—"
    return [
        name,
        f"{mean:.3g}",
        "—" if np.isnan(spread) else f"{spread:.2g}",
        f"{freeze:.3g}",
        share,
    ]
