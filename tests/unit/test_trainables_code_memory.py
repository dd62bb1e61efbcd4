"""The memory of codes: what it is trained on, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from learner_contract import Begin, LearnerContract
from moving_blocks import blocks

from datasets.errors import InputError
from trainables.code_memory import STEPS, CodedDrives, MemoryTask, Window, coded
from trainables.config import FitConfig
from trainables.fit import SupervisedLearner
from trainables.visions.codes import Codes
from trainables.visions.pca import PrincipalComponents

CPU = torch.device("cpu")
QUICK = FitConfig(epochs=3, batch_size=8, learning_rate=5e-3)


def seeing() -> Codes:
    drives = blocks()
    vision = PrincipalComponents(3, 32)
    pixels = torch.from_numpy(drives.recordings.frames).float() / 255
    vision.fit(pixels)
    vision.standardize(vision.raw(pixels))
    return vision


def learner(repeat: int = 1, config: FitConfig = QUICK) -> SupervisedLearner[Window]:
    drives = CodedDrives.of(blocks(), seeing(), repeat, CPU)
    return SupervisedLearner(MemoryTask(drives, 16, 2, config.batch_size), config, CPU)


class TestMemoryLearner(LearnerContract):
    @pytest.fixture
    def begin(self) -> Begin:
        return learner


def test_codes_are_those_of_the_vision() -> None:
    drives, vision = blocks(), seeing()
    found = coded(vision, drives.recordings.frames, CPU)
    some = torch.from_numpy(drives.recordings.frames[5:7]).float() / 255
    np.testing.assert_allclose(found[5:7], vision(some), atol=1e-5)


def test_with_actions_that_are_kept_up_it_sees_what_the_policy_sees() -> None:
    """Frames so many steps apart, the mean action between them, and the sum of its rewards."""
    drives = blocks()
    recordings = drives.recordings
    found = CodedDrives.of(drives, seeing(), 3, CPU)
    window = MemoryTask(found, 4, 1, batch_size=2)._window(torch.tensor([2, 41]))
    assert found.steps == 13  # of 40 frames
    assert window.codes.shape == (14, 2, 3)
    every = coded(seeing(), recordings.frames, CPU)
    np.testing.assert_allclose(window.codes[:3, 0], every[[2, 5, 8]], atol=1e-5)
    np.testing.assert_allclose(
        window.actions[1, 0], recordings.actions[5:8].mean(axis=0), rtol=1e-5
    )
    sums = np.array([recordings.rewards[row : row + 3].sum() for row in range(150)])
    share = window.rewards[:, 1].numpy() / sums[41 + 3 * np.arange(13)]
    np.testing.assert_allclose(share, share[0], rtol=1e-4)


def test_windows_lie_within_an_episode() -> None:
    found = CodedDrives.of(blocks(steps=50), seeing(), 1, CPU)
    assert found.steps == STEPS
    assert found.train.tolist() == [50 * e + s for e in range(4) for s in range(50 - STEPS)]
    assert found.validation.tolist() == [200]


def test_a_drive_that_is_shorter_than_an_action_is_refused() -> None:
    with pytest.raises(InputError, match="action_repeat is 5: expected less than the 5 frames"):
        CodedDrives.of(blocks(steps=5), seeing(), 5, CPU)


def test_it_learns_what_the_action_does() -> None:
    """A memory that is not told the actions cannot know where the block moves."""
    config = replace(QUICK, epochs=60, batch_size=2)
    told = learner(config=config)
    blind = learner(config=config)
    assert isinstance(blind.task, MemoryTask)
    actions = torch.zeros_like(blind.task.drives.actions)
    blind.task.drives = replace(blind.task.drives, actions=actions)
    found = [
        [each.advance(epoch)["validation/surprise"] for epoch in range(1, 61)]
        for each in (told, blind)
    ]
    assert found[0][-1] < found[0][0]
    assert found[0][-1] < found[1][-1] - 0.1
