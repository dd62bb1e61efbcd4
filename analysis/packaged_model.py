"""Packages a trial's model for the MLflow model registry: one tensor in, one tensor out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from analysis import predictions, rollout_scores
from datasets.graphs import GraphStore
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.driving import DrivingProblem
from trainables.models.gnn import GNNConfig
from trainables.molecules import MoleculeProblem
from trainables.packed import PackedGNN, PackedWorldModel, pack, pack_drives
from trainables.rollout import CONTEXT

MOLECULES = 3
"""Number of molecules in the example input."""

HORIZON = 2
"""Number of frames that a world model predicts from the example input; small, as the example is
stored as text."""


@dataclass(frozen=True)
class PackagedModel:
    """A model with what its user has to know.

    Attributes:
        module: The model on the CPU, in evaluation mode.
        example: An example input from the validation split, float32.
        sizes: Shapes of input and output, -1 for an axis of any size.
        facts: What input and output mean, by name, such as ``unit``.
    """

    module: nn.Module
    example: Tensor
    sizes: tuple[tuple[int, ...], tuple[int, ...]]
    facts: Mapping[str, str]


def regressor(
    study: RecordedStudy, trial: Trial, weights: dict[str, Any], problem: MoleculeProblem
) -> PackagedModel:
    """Packages a graph neural network, see `trainables.packed.PackedGNN`.

    Args:
        study: The study.
        trial: A trial of the study.
        weights: The trial's weights, from `kept_weights.weights`.
        problem: The study's data.

    Raises:
        InputError: If the restored model is not the recorded one, see `predictions.checked`.
    """
    data = problem.molecules
    model, _ = predictions.checked(trial, weights, data)
    module = PackedGNN(model, GNNConfig(**weights["config"])).eval()
    some = torch.from_numpy(data.split.validation[:MOLECULES])
    has_prior = data.graphs.prior is not None
    of_prior = "charge in e and dipole moment x y z in D by GFN2-xTB, " if has_prior else ""
    example = pack(GraphStore(data.graphs, torch.device("cpu")).select(some))
    return PackagedModel(
        module=module,
        example=example,
        sizes=((-1, -1, -1), (-1,)),
        facts={
            "input": "molecules, atoms, (11 node features, x y z in Angstrom, "
            f"{of_prior}and for each atom 1 + the type of the "
            "bond to it or 0); see trainables/packed.py",
            "output": f"{study.params['data.target']} of each molecule",
            "unit": study.unit,
            "bonds": "listed" if data.lists_bonds else "of the SMILES",
        },
    )


def world_model(
    study: RecordedStudy, trial: Trial, weights: dict[str, Any], problem: DrivingProblem
) -> PackagedModel:
    """Packages a world model, see `trainables.packed.PackedWorldModel`.

    Args:
        study: The study.
        trial: A trial of the study.
        weights: The trial's weights, from `kept_weights.weights`.
        problem: The study's data.

    Raises:
        InputError: If the restored model is not the recorded one, see `rollout_scores.checked`.
    """
    del study
    data = problem.drives
    size = data.recordings.size
    module = PackedWorldModel(rollout_scores.checked(trial, weights, data), size).eval()
    begin = data.recordings.offsets[data.split.validation[0]]
    some = slice(begin, begin + CONTEXT + HORIZON)
    frames = torch.from_numpy(data.recordings.frames[some]).float() / 255
    actions = torch.tensor(data.recordings.actions[some])
    example = pack_drives(frames[None], actions[None])
    return PackagedModel(
        module=module,
        example=example,
        sizes=((-1, -1, example.shape[2]), (-1, -1, 3, size, size)),
        facts={
            "input": "episodes, frames, (pixels of the red, green and blue planes, and the "
            "action that follows: steering, throttle, brake); see trainables/packed.py",
            "output": f"episodes, frames after the first {CONTEXT}, planes, rows, columns: a "
            "free-running rollout",
            "unit": "pixel values from 0 to 1",
        },
    )
