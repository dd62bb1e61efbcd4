"""Drives within what a memory dreams."""

from pathlib import Path

import numpy as np
import pytest
import torch
from moving_blocks import blocks

from datasets.cache import Cache
from trainables.code_memory import rewards_of
from trainables.config import FitConfig
from trainables.dreaming import Dream
from trainables.perception import (
    MemorySettings,
    VisionSettings,
    fresh_memory,
    fresh_vision,
    trained_memory,
    trained_vision,
)
from trainables.steering import Senses

DRIVES = blocks(episodes=40)
CPU = torch.device("cpu")
PLACES = np.linspace(0, 0.99, 6)


@pytest.fixture(scope="module")
def senses(tmp_path_factory: pytest.TempPathFactory) -> Senses:
    """A memory that has learned that steering to the right moves the block, and is rewarded."""
    cache = Cache(Path(tmp_path_factory.mktemp("cache")))
    fit = FitConfig(epochs=20, learning_rate=0.01, batch_size=16)
    seeing = VisionSettings("pca", 4, 0.0, 0.0, 0, fit)
    vision = fresh_vision(seeing, 32)
    vision.load_state_dict(trained_vision(seeing, DRIVES, cache, CPU).weights)
    remembering = MemorySettings("trained", 32, 3, 1, fit)
    memory = fresh_memory(remembering, 4)
    assert memory is not None
    memory.load_state_dict(trained_memory(remembering, seeing, vision, DRIVES, cache, CPU).weights)
    return Senses(vision, memory)


def steering(senses: Senses, constant: float) -> np.ndarray:
    """Controllers that steer alike whatever they see."""
    rows = np.zeros((len(PLACES), 3, senses.features))
    rows[:, 0, -1] = constant
    return rows.reshape(len(PLACES), -1)


def test_a_dream_rewards_what_the_drives_rewarded(senses: Senses) -> None:
    dream = Dream(senses, DRIVES, repeat=1, temperature=1.0)
    right, left = (dream.returns(steering(senses, way), PLACES, 0) for way in (2.0, -2.0))
    assert right.shape == (6,)
    assert right.min() > 300  # of 1,000 steps of a reward of at most 1
    assert left.max() < -300


def test_a_memory_that_expects_a_reward_of_one_in_each_step_adds_them_up(senses: Senses) -> None:
    dream = Dream(senses, DRIVES, repeat=4, temperature=1.0)
    assert senses.memory is not None
    before = {name: each.clone() for name, each in senses.memory.head.state_dict().items()}
    with torch.no_grad():
        senses.memory.head.weight[-1] = 0
        senses.memory.head.bias[-1] = 1
    found = dream.returns(steering(senses, 0.0), PLACES, 0)
    senses.memory.head.load_state_dict(before)
    assert found.tolist() == pytest.approx([250 * rewards_of(DRIVES, 4)[1]] * 6)


def test_a_seed_gives_the_same_dream_and_without_temperature_any_does(senses: Senses) -> None:
    weights = steering(senses, 0.3)
    dream = Dream(senses, DRIVES, repeat=4, temperature=1.0)
    first = dream.returns(weights, PLACES, 1)
    np.testing.assert_array_equal(dream.returns(weights, PLACES, 1), first)
    assert (dream.returns(weights, PLACES, 2) != first).all()
    certain = Dream(senses, DRIVES, repeat=4, temperature=0.0)
    np.testing.assert_array_equal(
        certain.returns(weights, PLACES, 1), certain.returns(weights, PLACES, 2)
    )
