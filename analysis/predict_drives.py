"""What the champion of a study dreams of a drive that was recorded."""

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
    """One recorded episode.

    Attributes:
        title: Which one.
        frames: (1, K + T, 3, S, S) float32, from 0 to 1.
        actions: (1, K + T, 3) float32.
    """

    title: str
    frames: Tensor
    actions: Tensor


@dataclass(frozen=True)
class Dreamt:
    """Free-running rollouts of an episode, one a seed.

    Attributes:
        frames: (seeds, T, 3, S, S) float32.
        mse: (seeds, T) float64, in squared pixel values.
        freeze: (T,) float64, of keeping the last frame of the context.
    """

    frames: Tensor
    mse: np.ndarray
    freeze: np.ndarray


def of_file(study: RecordedStudy, path: Path, episode: int) -> Drive:
    """An episode of a file of recordings.

    Raises:
        InputError: If it is none, or its frames are not of the study's size, or see `_drive`.
    """
    recordings = read_drives(path)
    if recordings.size != study.fact("pixels"):
        raise InputError(
            f"{path} has frames of {recordings.size} pixels: {study.name} was trained on "
            f"{study.fact('pixels')}"
        )
    return _drive(recordings, np.arange(len(recordings)), episode, f"episodes in {path}")


def of_study(study: RecordedStudy, data_dir: Path, where: str | None, episode: int) -> Drive:
    """One of the study's own test episodes.

    Raises:
        InputError: If the study's drives are not there, or see `_drive`.
    """
    data = opened(study, data_dir, where).drives
    return _drive(data.recordings, data.split.test, episode, f"test episodes of {study.name}")


def _drive(recordings: Recordings, episodes: np.ndarray, episode: int, what: str) -> Drive:
    """
    Raises:
        InputError: If there is no such episode, or it ends with the context.
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
    """Lets each final dream on from the context, with the actions that were recorded.

    Raises:
        InputError: See `rollout_scores.restore`.
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
    """Writes the errors at all horizons, ``dream.csv``, and a film, ``dream.gif``; each whole or
    not at all.

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
    """Standard deviation over the seeds, the first axis; NaN where there is one only."""
    if len(errors) == 1:
        return np.full(errors.shape[1:], np.nan)
    return errors.std(axis=0, ddof=1)


def markdown(found: Dreamt, drive: Drive, study: RecordedStudy, champion: Champion) -> str:
    """Error against horizon as aligned Markdown, with what it means below."""
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
