"""The learners of the studies, and one without a network, do what every learner has to."""

from itertools import product
from typing import get_args

import pytest
from contracts import here
from guessing import Guessing
from learner_contract import Begin, LearnerContract
from moving_stripes import striped_drives

from datasets.driving import Drives
from datasets.sources import MoleculeSet
from record.trial import Searched
from trainables.driving import DrivingProblem
from trainables.models.families import FAMILIES
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import Core, WorldModelConfig
from trainables.molecules import MoleculeProblem
from trainables.problem import Context


class TestGuessing(LearnerContract):
    @pytest.fixture
    def begin(self) -> Begin:
        return lambda: Guessing(seed=3)


@pytest.mark.usefixtures("on_each_device")
class TestLearnersOfMolecules(LearnerContract):
    """With dropout, statistics of batches, and averaged weights."""

    @pytest.fixture(params=[family.key for family in FAMILIES])
    def begin(self, request: pytest.FixtureRequest, molecules: MoleculeSet) -> Begin:
        problem = MoleculeProblem(molecules)
        config = GNNConfig(
            family=request.param,
            width=8,
            batch_size=32,
            dropout=0.2,
            normalization="batch",
            averaging=0.5,
            epochs=3,
        )
        return lambda: problem.learner(config, Searched(0), Context(here(), 1))


@pytest.fixture(scope="module")
def drives() -> Drives:
    return striped_drives(length=45, size=16)


@pytest.mark.usefixtures("on_each_device")
class TestLearnersOfDrives(LearnerContract):
    """With noise, averaged weights, and a sampling rate that rises. Not with the decoder that
    moves frames: a GPU adds up its gradients in any order."""

    @pytest.fixture(params=product(get_args(Core), ("linear", "convolutional")), ids=str)
    def begin(self, request: pytest.FixtureRequest, drives: Drives) -> Begin:
        problem, (core, decoder) = DrivingProblem(drives), request.param
        config = WorldModelConfig(
            core=core,
            decoder=decoder,
            hidden=16,
            sequence_length=8,
            context=2,
            free_steps=3,
            sampling_rate=0.5,
            noise=0.1,
            averaging=0.5,
            batch_size=8,
            epochs=3,
        )
        return lambda: problem.learner(config, Searched(0), Context(here(), 1))
